//! Why a connection has failed, and the error of each of its requests.
//!
//! | fault | set by | sent, no reply | not sent, in flight | later |
//! |---|---|---|---|---|
//! | `Rejected` | `Wire::next_incoming`: a final rejection | `Rejected` | `Rejected` | `Broken` |
//! | `Eof` | `Wire::failure`: the end of the input | `Closed` | `Closed` | `Closed` |
//! | `Read` | `Replies::poll_read` | `Io` | `Closed` or `Io` | `Closed` or `Io` |
//! | `Write` | `Wire::poll_flush` | `Io` | `Closed` or `Io` | `Closed` or `Io` |
//! | `Frame` | `Wire::next_incoming`: no frame | `Reply` | `Reply` | `Broken` |
//! | `TimedOut` | `Connection::in_time`, `Driver::poll_ticks` | `TimedOut` | `TimedOut` | `Broken` |
//! | `Broken` | whoever closes the connection at this end | `Broken` | `Broken` | `Broken` |
//!
//! `Closed` is for errors that the peer's close causes, such as a reset. Other errors stay `Io`.
//! After a final rejection, the server has executed no request without a reply. Otherwise, whether a
//! request that was sent was executed is unknown, and one that was not sent was not.

use std::{io, sync::Arc, time::Duration};

use crate::{Error, Peer, Rejection, framing::FrameError};

/// The reason of [`Fault::Broken`] if a reply is not that of the operation that was called.
pub(super) const OUT_OF_STEP: &str = "an earlier message was not the reply of its operation";

/// Why a connection has failed.
///
/// Results carry it in an [`Arc`]: by value, it would cost each reply 50 to 80 instructions.
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
    TimedOut(Duration),
    /// The client has closed the connection, for this reason.
    Broken(&'static str),
}

/// What is left of a connection that is closed: from it, each request gets an error.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    pub(super) fault: Arc<Fault>,
    /// The number of bytes of requests that were sent before.
    pub(super) sent: u64,
}

impl Closed {
    /// Returns the error of the request that begins at `offset` and was in flight, or of a wait
    /// without a request.
    #[cold]
    pub(super) fn error_of(&self, offset: Option<u64>, peer: &Peer) -> Error {
        match offset {
            Some(offset) if offset < self.sent => self.fault.sent_error(peer),
            _ => self.fault.unsent_error(peer),
        }
    }
}

impl Fault {
    /// Returns the error of a request in flight of which at least a part was sent.
    fn sent_error(&self, peer: &Peer) -> Error {
        match self {
            Self::Rejected(rejection) => Error::rejected(peer, rejection.clone()),
            Self::Eof => Error::closed_before_reply(peer),
            Self::Read(error) => Error::read(peer, io_error(error)),
            Self::Write(error) => Error::write(peer, io_error(error)),
            Self::Frame(error) => Error::no_frame(peer, error.clone()),
            Self::TimedOut(limit) => Error::no_message(peer, *limit),
            Self::Broken(reason) => Error::broken_before_reply(peer, reason),
        }
    }

    /// Returns the error of a request in flight of which nothing was sent, or of a wait for a greeting.
    fn unsent_error(&self, peer: &Peer) -> Error {
        match self {
            // A final rejection applies to every request without a reply.
            Self::Rejected(_) => self.sent_error(peer),
            Self::Frame(_) | Self::TimedOut(_) => self.sent_error(peer).not_sent(),
            Self::Eof | Self::Read(_) | Self::Write(_) | Self::Broken(_) => self.later_error(peer),
        }
    }

    /// Returns the error of a request that is made after the failure.
    #[cold]
    pub(super) fn later_error(&self, peer: &Peer) -> Error {
        match self {
            Self::Rejected(rejection) => Error::ended_before_sent(peer, rejection.clone()),
            Self::Eof => Error::closed_before_sent(peer),
            Self::Read(error) | Self::Write(error) if is_closed_by_peer(error) => {
                Error::closed_before_sent(peer).with_source(io_error(error))
            }
            Self::Read(_) | Self::Write(_) => self.sent_error(peer).not_sent(),
            Self::Frame(_) => Error::broken_before_sent(peer, "an earlier exchange failed"),
            Self::TimedOut(_) => Error::broken_before_sent(peer, "an earlier exchange timed out"),
            Self::Broken(reason) => Error::broken_before_sent(peer, reason),
        }
    }
}

/// Returns `true` if the peer's close caused the error, which may also be an unclean end of a TLS stream.
fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Copies an I/O error, which is not `Clone`, because each request gets its own.
///
/// The copy is text. So the code of a stream's own error runs only for the first copy, without a lock.
#[cold]
pub(super) fn io_error(error: &io::Error) -> io::Error {
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
    fn fault_gives_each_request_its_kind_and_execution() {
        use ErrorKind::{Broken, Closed, Io, Rejected, Reply, TimedOut};

        let rejection = Rejection::new(RejectionKind::GoingAway, "");
        let other = || io::Error::other("cause");
        let reset = || io::ErrorKind::ConnectionReset.into();
        // The kinds for a request that was sent, for one that was not, and for a later one.
        let faults = [
            (Fault::Rejected(rejection), [Rejected, Rejected, Broken]),
            (Fault::Eof, [Closed; 3]),
            (Fault::Read(reset()), [Io, Closed, Closed]),
            (Fault::Read(other()), [Io; 3]),
            (Fault::Write(reset()), [Io, Closed, Closed]),
            (Fault::Write(other()), [Io; 3]),
            (
                Fault::Frame(FrameError::truncated()),
                [Reply, Reply, Broken],
            ),
            (
                Fault::TimedOut(Duration::from_secs(1)),
                [TimedOut, TimedOut, Broken],
            ),
            (Fault::Broken("it is"), [Broken; 3]),
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
