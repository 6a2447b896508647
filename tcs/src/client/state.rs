//! How far a connection has come.

use crate::{Peer, Rejection, Result, error::Repr};

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum State {
    Fresh,
    /// The server has said something, and was asked nothing yet.
    Greeted,
    /// It had an exchange, which is over.
    Used,
    /// Nothing more can be asked, for this reason.
    Broken(&'static str),
    /// The server has said a final refusal.
    Ended(Rejection),
}

impl State {
    /// Refuses to go on where nothing can be asked any more.
    pub(super) fn check(&self, peer: &Peer) -> Result<()> {
        let peer = || peer.clone();
        match self {
            Self::Fresh | Self::Greeted | Self::Used => Ok(()),
            Self::Broken(reason) => Err(Repr::Broken {
                peer: peer(),
                reason,
            }
            .into()),
            Self::Ended(refusal) => Err(Repr::Ended {
                peer: peer(),
                source: refusal.clone(),
            }
            .into()),
        }
    }
}
