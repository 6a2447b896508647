//! Why a connection carries nothing more, told to each request that it concerns.

use std::{io, time::Duration};

use crate::{Error, FrameError, Peer, Rejection, error::Repr};

/// What a connection with any number of open requests failed of.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has said a final refusal.
    Ended(Rejection),
    /// The server has closed the connection.
    Closed,
    Read(io::Error),
    Write(io::Error),
    Frame(FrameError),
    /// Nothing has arrived for so long.
    Silent(Duration),
    /// Nothing can be asked, for this reason.
    Broken(&'static str),
}

impl Failure {
    /// Returns what becomes of an open request of which at least a part was sent.
    pub(super) fn of_sent(&self, peer: &Peer) -> Error {
        let peer = peer.clone();
        let repr = match self {
            Self::Ended(source) => Repr::Refused {
                peer,
                source: source.clone(),
            },
            Self::Closed => Repr::Closed { peer },
            Self::Read(source) => Repr::Read {
                peer,
                source: again(source),
            },
            Self::Write(source) => Repr::Write {
                peer,
                source: again(source),
            },
            Self::Frame(source) => Repr::Frame {
                peer,
                source: source.clone(),
            },
            Self::Silent(limit) => Repr::ReplyTimedOut {
                peer,
                limit: *limit,
            },
            Self::Broken(reason) => Repr::Lost { peer, reason },
        };
        repr.into()
    }

    /// Returns what becomes of an open request of which nothing was sent.
    pub(super) fn of_unsent(&self, peer: &Peer) -> Error {
        match self {
            // Said before what is open was answered: it holds for what was not sent, too.
            Self::Ended(_) => self.of_sent(peer),
            _ => self.of_later(peer),
        }
    }

    /// Returns what becomes of a request that is made afterwards.
    pub(super) fn of_later(&self, peer: &Peer) -> Error {
        let peer = peer.clone();
        let repr = match self {
            Self::Ended(source) => Repr::Ended {
                peer,
                source: source.clone(),
            },
            Self::Closed => Repr::Gone { peer, source: None },
            Self::Read(source) | Self::Write(source) => Repr::Gone {
                peer,
                source: Some(again(source)),
            },
            Self::Frame(_) | Self::Silent(_) | Self::Broken(_) => Repr::Broken {
                peer,
                reason: self.reason(),
            },
        };
        repr.into()
    }

    /// Returns the reason why a connection that failed like this is closed.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Silent(_) => "an earlier exchange timed out",
            Self::Broken(reason) => reason,
            _ => "an earlier exchange failed",
        }
    }
}

/// Copies an error of the operating system, so that each request gets its own.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Execution, RejectionKind};

    #[test]
    fn failures_tell_whether_a_request_can_have_been_executed() {
        let (sent, unsent, later) = (Execution::Unknown, Execution::NotSent, Execution::NotSent);
        let refusal = || Rejection::new(RejectionKind::GoingAway, "");
        let failures = [
            (
                Failure::Ended(refusal()),
                Execution::Refused,
                Execution::Refused,
            ),
            (Failure::Closed, sent, unsent),
            (
                Failure::Read(io::ErrorKind::ConnectionReset.into()),
                sent,
                unsent,
            ),
            (
                Failure::Write(io::Error::from_raw_os_error(32)),
                sent,
                unsent,
            ),
            (Failure::Frame(FrameError::truncated()), sent, unsent),
            (Failure::Silent(Duration::from_secs(1)), sent, unsent),
            (Failure::Broken("it is"), sent, unsent),
        ];
        let peer = Peer::unnamed();
        for (failure, sent, unsent) in failures {
            let told = [
                failure.of_sent(&peer),
                failure.of_unsent(&peer),
                failure.of_later(&peer),
            ];
            assert_eq!(
                told.map(|error| error.execution()),
                [sent, unsent, later],
                "{failure:?}"
            );
        }
    }
}
