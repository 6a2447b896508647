//! Why a connection has failed, and the error of each of its requests.
//!
//! | fault | set by | sent, no reply | not sent, in flight | later |
//! |---|---|---|---|---|
//! | `Rejected` | `Wire::next_received`: a final rejection | `Rejected` | `Rejected` | `Broken` |
//! | `Eof` | `Wire::poll_receive`: the end of the input | `Closed` | `Closed` | `Closed` |
//! | `Read` | `Wire::poll_read` | `Io` | `Closed` or `Io` | `Closed` or `Io` |
//! | `Write` | `Wire::poll_flush` | `Io` | `Closed` or `Io` | `Closed` or `Io` |
//! | `Frame` | `Wire::next_received`: no frame | `Reply` | `Reply` | `Broken` |
//! | `Frame` | the same: the end in the middle of a frame | `Closed` | `Closed` | `Closed` |
//! | `ReadTimedOut`, `WriteTimedOut` | `Wire::time_out` | `TimedOut` | `TimedOut` | `Broken` |
//! | `Broken` | the code that closes the connection at this end | `Broken` | `Broken` | `Broken` |
//! | `Retired` | `SubchannelState::end_reason`, once all calls are answered | `Broken` | `Broken` | `Broken` |
//!
//! `Closed` is for errors that the peer's close causes, such as a reset. Other errors stay `Io`.
//! After a final rejection, the server has executed no request without a reply. Otherwise, a request that was not sent
//! was not executed, and whether a sent request was executed is unknown.

use std::{io, time::Duration};

use super::deadline::PassedLimit;
use crate::{Error, Peer, Rejection, framing::FrameError};

/// The reason of [`Fault::Broken`] if a reply is for another operation than the one that was called.
pub(super) const OUT_OF_SYNC: &str = "an earlier message was not the reply of its operation";

/// The reason of [`Fault::Broken`] if a message answers no request.
pub(super) const UNEXPECTED: &str = "the server sent an unexpected message";

/// The reason of [`Fault::Retired`].
const RETIRED: &str = "the channel has no use for it any more";

/// Why a connection has failed.
///
/// Results carry it in an [`Arc`](std::sync::Arc), because moving it by value would slow down each reply
/// (decision 014).
#[derive(Debug)]
pub(super) enum Fault {
    /// The server has sent a final rejection.
    Rejected(Rejection),
    /// The server has closed the connection.
    Eof,
    Read(io::Error),
    Write(io::Error),
    Frame(FrameError),
    /// No complete message has arrived within this time.
    ReadTimedOut(Duration),
    /// The server has not read all requests within this time.
    WriteTimedOut(Duration),
    /// The client has closed the connection, for this reason.
    Broken(&'static str),
    /// The channel has no use for the connection any more: it is idle or old, or the channel was dropped.
    Retired,
}

impl Fault {
    /// Returns `true` if it is the server that has ended the connection, or the network.
    pub(super) fn is_by_server(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Eof | Self::Read(_) | Self::Write(_) => true,
            Self::Frame(error) => error.is_truncated(),
            Self::ReadTimedOut(_) | Self::WriteTimedOut(_) | Self::Broken(_) | Self::Retired => {
                false
            }
        }
    }

    /// Returns the error of the request in flight that begins at `offset`, or of a wait without a
    /// request, after `sent` bytes of requests were sent.
    #[cold]
    pub(super) fn error_of(&self, offset: Option<u64>, sent: u64, peer: &Peer) -> Error {
        match offset {
            Some(offset) if offset < sent => self.sent_error(peer),
            _ => self.unsent_error(peer),
        }
    }

    /// Returns the error of a request in flight if at least a part of it was sent.
    fn sent_error(&self, peer: &Peer) -> Error {
        match self {
            Self::Rejected(rejection) => Error::rejected(peer, rejection.clone()),
            Self::Eof => Error::closed_before_reply(peer),
            Self::Read(error) => Error::read(peer, clone_io_error(error)),
            Self::Write(error) => Error::write(peer, clone_io_error(error)),
            Self::Frame(error) if error.is_truncated() => {
                Error::closed_before_reply(peer).with_source(error.clone())
            }
            Self::Frame(error) => Error::no_frame(peer, error.clone()),
            Self::ReadTimedOut(limit) => {
                Error::read_timed_out(peer, PassedLimit::reply_timeout(*limit))
            }
            Self::WriteTimedOut(limit) => Error::write_timed_out(peer, *limit),
            Self::Broken(reason) => Error::broken_before_reply(peer, reason),
            Self::Retired => Error::broken_before_reply(peer, RETIRED),
        }
    }

    /// Returns the error of a request in flight if nothing of it was sent, or of a wait for a greeting.
    fn unsent_error(&self, peer: &Peer) -> Error {
        match self {
            // A final rejection applies to every request without a reply.
            Self::Rejected(_) => self.sent_error(peer),
            Self::Frame(error) if error.is_truncated() => self.later_error(peer),
            Self::Frame(_) | Self::ReadTimedOut(_) | Self::WriteTimedOut(_) => {
                self.sent_error(peer).not_sent()
            }
            Self::Eof | Self::Read(_) | Self::Write(_) | Self::Broken(_) | Self::Retired => {
                self.later_error(peer)
            }
        }
    }

    /// Returns the error of a request that is made after the failure.
    #[cold]
    pub(super) fn later_error(&self, peer: &Peer) -> Error {
        match self {
            Self::Rejected(rejection) => Error::ended_before_sent(peer, rejection.clone()),
            Self::Eof => Error::closed_before_sent(peer),
            Self::Read(error) | Self::Write(error) if is_closed_by_peer(error) => {
                Error::closed_before_sent(peer).with_source(clone_io_error(error))
            }
            Self::Read(_) | Self::Write(_) => self.sent_error(peer).not_sent(),
            Self::Frame(error) if error.is_truncated() => {
                Error::closed_before_sent(peer).with_source(error.clone())
            }
            Self::Frame(_) => Error::broken_before_sent(peer, "an earlier exchange failed"),
            Self::ReadTimedOut(_) | Self::WriteTimedOut(_) => {
                Error::broken_before_sent(peer, "an earlier exchange timed out")
            }
            Self::Broken(reason) => Error::broken_before_sent(peer, reason),
            Self::Retired => Error::broken_before_sent(peer, RETIRED),
        }
    }
}

/// Returns `true` if the peer's close caused the error, which may also be an unclean end of a TLS stream.
fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    // On Windows, a reset during a write is `ConnectionAborted`.
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// Copies an I/O error, because each request gets its own. The type is not `Clone`.
///
/// The copy is text. Later copies therefore run no code of the user's, which must not run under the lock of a channel.
#[cold]
pub(super) fn clone_io_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Execution, RejectionKind};

    #[test]
    fn fault_is_by_the_server_if_the_server_has_ended_the_connection() {
        let limit = Duration::from_secs(1);
        let reset = || io::ErrorKind::ConnectionReset.into();
        for (fault, is_by_server) in [
            (Fault::Rejected(Rejection::busy("")), true),
            (Fault::Eof, true),
            (Fault::Read(reset()), true),
            (Fault::Write(reset()), true),
            (Fault::Frame(FrameError::truncated()), true),
            (Fault::Frame(FrameError::malformed("it is")), false),
            (Fault::ReadTimedOut(limit), false),
            (Fault::WriteTimedOut(limit), false),
            (Fault::Broken("it is"), false),
            (Fault::Retired, false),
        ] {
            assert_eq!(fault.is_by_server(), is_by_server, "{fault:?}");
        }
    }

    #[test]
    fn fault_gives_each_request_its_kind_and_execution() {
        use ErrorKind::{Broken, Closed, Io, Rejected, Reply, TimedOut};

        let rejection = Rejection::new(RejectionKind::GoingAway, "");
        let other = || io::Error::other("cause");
        let reset = || io::ErrorKind::ConnectionReset.into();
        let aborted = || io::ErrorKind::ConnectionAborted.into();
        let limit = Duration::from_secs(1);
        // The kinds for a request that was sent, for one that was not, and for a later one.
        let faults = [
            (Fault::Rejected(rejection), [Rejected, Rejected, Broken]),
            (Fault::Eof, [Closed; 3]),
            (Fault::Read(reset()), [Io, Closed, Closed]),
            (Fault::Read(other()), [Io; 3]),
            (Fault::Write(reset()), [Io, Closed, Closed]),
            (Fault::Read(aborted()), [Io, Closed, Closed]),
            (Fault::Write(other()), [Io; 3]),
            (Fault::Frame(FrameError::truncated()), [Closed; 3]),
            (
                Fault::Frame(FrameError::malformed("it is")),
                [Reply, Reply, Broken],
            ),
            (Fault::ReadTimedOut(limit), [TimedOut, TimedOut, Broken]),
            (Fault::WriteTimedOut(limit), [TimedOut, TimedOut, Broken]),
            (Fault::Broken("it is"), [Broken; 3]),
            (Fault::Retired, [Broken; 3]),
        ];
        let peer = Peer::unnamed();
        for (fault, [sent, unsent, later]) in faults {
            let executions = match fault {
                Fault::Rejected(_) => [Execution::NotExecuted; 2],
                _ => [Execution::Unknown, Execution::NotSent],
            };
            let errors = [
                (fault.sent_error(&peer), sent, executions[0]),
                (fault.unsent_error(&peer), unsent, executions[1]),
                (fault.later_error(&peer), later, Execution::NotSent),
            ];
            for (error, kind, execution) in errors {
                assert_eq!(
                    (error.kind(), error.execution()),
                    (kind, execution),
                    "{fault:?}"
                );
            }
        }
    }
}
