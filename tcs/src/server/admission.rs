//! Decides whether to serve a peer, at its accept or after its handshakes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    addresses::{AddressConnection, Addresses},
    log_limiter::{LogLimiter, log_panic},
};
use crate::{Peer, Rejection, RejectionKind, transport::Incoming};

/// The conditions under which a peer is served.
pub(super) struct Admission {
    pub(super) addresses: Addresses,
    pub(super) on_accept: Option<OnAccept>,
}

/// The user's condition, from `on_accept`.
pub(super) type OnAccept = Box<dyn Fn(&Peer) -> Result<(), Rejection> + Send + Sync>;

impl Admission {
    /// Admits a peer at its accept, unless its handshakes can still change its address.
    pub(super) fn at_accept(
        &self,
        incoming: &Incoming,
        log_limiter: &LogLimiter,
    ) -> Result<Option<AddressConnection>, Rejection> {
        let Incoming {
            peer, handshakes, ..
        } = incoming;
        let mut usage = None;
        if handshakes.is_empty() {
            self.admit(peer, &mut usage, log_limiter)?;
        } else if !handshakes
            .iter()
            .any(|handshake| handshake.may_change_addr(peer))
        {
            usage = self.addresses.connect(peer)?;
        }
        Ok(usage)
    }

    /// Admits a peer after its handshakes.
    pub(super) fn admit(
        &self,
        peer: &Peer,
        usage: &mut Option<AddressConnection>,
        log_limiter: &LogLimiter,
    ) -> Result<(), Rejection> {
        if usage.is_none() {
            *usage = self.addresses.connect(peer)?;
        }
        match &self.on_accept {
            Some(on_accept) => ask(on_accept, peer, log_limiter),
            None => Ok(()),
        }
    }
}

/// Asks the user's condition. Catches its panic, because the accept loop of all connections calls it.
fn ask(on_accept: &OnAccept, peer: &Peer, log_limiter: &LogLimiter) -> Result<(), Rejection> {
    let answer = catch_unwind(AssertUnwindSafe(|| on_accept(peer)));
    let rejection = match answer {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(rejection)) => rejection,
        Err(payload) => {
            log_panic(log_limiter, "`on_accept`", payload);
            Rejection::new(RejectionKind::GoingAway, "the server failed")
        }
    };
    // The peer would take a rejection of any other kind for the reply to its first request.
    Err(if rejection.kind().is_final() {
        rejection
    } else {
        Rejection::new(RejectionKind::GoingAway, rejection.text())
    })
}
