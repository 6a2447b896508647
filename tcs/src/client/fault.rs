//! Why a connection carries nothing more, and what each request is told.

use std::{io, time::Duration};

use crate::{Error, FrameError, Peer, Rejection, error::Repr};

/// A connection is closed because its server said something that was not asked for.
pub(super) const UNEXPECTED: &str = "the server said something that was not asked for";
/// A connection is closed because a pipeline was dropped, or forgotten, too early.
pub(super) const LEFT: &str = "a pipeline was left before it had received all replies";
/// A connection is closed because the future of an exchange was dropped.
pub(super) const DROPPED: &str = "an earlier exchange was not awaited to its end";

/// Why a connection carries nothing more.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server has sent a final rejection.
    Ended(Rejection),
    /// The server has closed the connection.
    Closed,
    Read(io::Error),
    Write(io::Error),
    Frame(FrameError),
    /// Nothing has arrived for this long.
    Silent(Duration),
    /// This side has closed the connection, for this reason.
    Broken(&'static str),
}

/// A connection that is closed.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) fault: Fault,
    /// The number of bytes of requests that were sent before.
    pub(super) sent: u64,
}

impl Dead {
    /// Returns what a request is told that was in flight, and begins at `start`.
    #[cold]
    pub(super) fn of(&self, start: u64, peer: &Peer) -> Error {
        if start < self.sent {
            self.fault.of_sent(peer)
        } else {
            self.fault.of_unsent(peer)
        }
    }
}

impl Fault {
    /// Returns what an open request is told of which at least a part was sent.
    fn of_sent(&self, peer: &Peer) -> Error {
        let peer = peer.clone();
        let repr = match self {
            Self::Ended(source) => Repr::Refused {
                peer,
                source: source.clone(),
            },
            Self::Closed => Repr::Closed { peer },
            Self::Read(source) => Repr::Read {
                peer,
                source: clone_io_error(source),
            },
            Self::Write(source) => Repr::Write {
                peer,
                source: clone_io_error(source),
            },
            Self::Frame(source) => Repr::Frame {
                peer,
                is_sent: true,
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

    /// Returns what an open request is told of which nothing was sent, and who waits for a greeting.
    pub(super) fn of_unsent(&self, peer: &Peer) -> Error {
        match self {
            // A final rejection holds for all that was not answered before it.
            Self::Ended(_) => self.of_sent(peer),
            Self::Frame(source) => Repr::Frame {
                peer: peer.clone(),
                is_sent: false,
                source: source.clone(),
            }
            .into(),
            Self::Silent(limit) => Repr::SaidNothing {
                peer: peer.clone(),
                limit: *limit,
            }
            .into(),
            _ => self.of_later(peer),
        }
    }

    /// Returns what a request is told that is made afterwards.
    #[cold]
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
                source: Some(clone_io_error(source)),
            },
            Self::Frame(_) => Repr::Broken {
                peer,
                reason: "an earlier exchange failed",
            },
            Self::Silent(_) => Repr::Broken {
                peer,
                reason: "an earlier exchange timed out",
            },
            Self::Broken(reason) => Repr::Broken { peer, reason },
        };
        repr.into()
    }
}

/// Copies an error of the operating system, because each request gets its own.
fn clone_io_error(error: &io::Error) -> io::Error {
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
    fn faults_tell_whether_a_request_can_have_been_executed() {
        let (sent, unsent, later) = (Execution::Unknown, Execution::NotSent, Execution::NotSent);
        let refusal = || Rejection::new(RejectionKind::GoingAway, "");
        let faults = [
            (
                Fault::Ended(refusal()),
                Execution::Refused,
                Execution::Refused,
            ),
            (Fault::Closed, sent, unsent),
            (
                Fault::Read(io::ErrorKind::ConnectionReset.into()),
                sent,
                unsent,
            ),
            (Fault::Write(io::Error::from_raw_os_error(32)), sent, unsent),
            (Fault::Frame(FrameError::truncated()), sent, unsent),
            (Fault::Silent(Duration::from_secs(1)), sent, unsent),
            (Fault::Broken("it is"), sent, unsent),
        ];
        let peer = Peer::unnamed();
        for (fault, sent, unsent) in faults {
            let told = [
                fault.of_sent(&peer),
                fault.of_unsent(&peer),
                fault.of_later(&peer),
            ];
            assert_eq!(
                told.map(|error| error.execution()),
                [sent, unsent, later],
                "{fault:?}"
            );
        }
    }
}
