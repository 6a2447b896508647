//! Why a connection has ended, and the error of each request.

use std::{io, time::Duration};

use crate::{Error, Execution, FrameError, Peer, Rejection};

/// A connection is closed because its server said something that was not asked for.
pub(super) const UNEXPECTED: &str = "the server said something that was not asked for";
/// A connection is closed because a pipeline was dropped, or forgotten, too early.
pub(super) const LEFT: &str = "a pipeline was left before it had received all replies";
/// A connection is closed because the future of an exchange was dropped.
pub(super) const DROPPED: &str = "an earlier exchange was not awaited to its end";

/// Why a connection has ended.
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
    /// Returns the error of a request that was in flight and begins at `start`.
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
    /// Returns the error of a request in flight, if at least a part of it was sent.
    fn of_sent(&self, peer: &Peer) -> Error {
        match self {
            Self::Ended(rejection) => Error::rejected(peer, rejection.clone()),
            Self::Closed => Error::closed(peer),
            Self::Read(error) => Error::read(peer, clone_io_error(error)),
            Self::Write(error) => Error::write(peer, clone_io_error(error)),
            Self::Frame(error) => Error::no_frame(peer, error.clone()),
            Self::Silent(limit) => Error::reply_timed_out(peer, *limit),
            Self::Broken(reason) => Error::lost(peer, reason),
        }
    }

    /// Returns the error of a request of which nothing was sent. A wait for a greeting counts as one.
    fn of_unsent(&self, peer: &Peer) -> Error {
        match self {
            // A final rejection holds for all that was not answered before it.
            Self::Ended(_) => self.of_sent(peer),
            Self::Frame(_) => self.of_sent(peer).with_execution(Execution::NotSent),
            Self::Silent(limit) => Error::said_nothing(peer, *limit),
            Self::Closed | Self::Read(_) | Self::Write(_) | Self::Broken(_) => self.of_later(peer),
        }
    }

    /// Returns the error of a request that is made afterwards.
    #[cold]
    pub(super) fn of_later(&self, peer: &Peer) -> Error {
        match self {
            Self::Ended(rejection) => Error::ended(peer, rejection.clone()),
            Self::Closed => Error::gone(peer),
            Self::Read(error) | Self::Write(error) => {
                Error::gone_because(peer, clone_io_error(error))
            }
            Self::Frame(_) => Error::broken(peer, "an earlier exchange failed"),
            Self::Silent(_) => Error::broken(peer, "an earlier exchange timed out"),
            Self::Broken(reason) => Error::broken(peer, reason),
        }
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
    use crate::RejectionKind;

    #[test]
    fn faults_tell_whether_a_request_can_have_been_executed() {
        let (sent, unsent, later) = (Execution::Unknown, Execution::NotSent, Execution::NotSent);
        let rejection = || Rejection::new(RejectionKind::GoingAway, "");
        let faults = [
            (
                Fault::Ended(rejection()),
                Execution::Rejected,
                Execution::Rejected,
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
