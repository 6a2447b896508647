//! What can go wrong, for those who call this library.

use std::{error::Error as _, fmt, net::SocketAddr};

mod repr;

pub(crate) use self::repr::Repr;
use crate::{Rejection, RejectionKind};

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server or a client could not do its work.
///
/// `Display` shows one level; `Debug` shows the chain of causes on one line, because that is what
/// `fn main() -> tcs::Result<()>` prints.
pub struct Error(Box<Repr>);

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting has a value that makes no sense.
    Setting,
    /// An address cannot be read, or a name not resolved.
    Resolve,
    /// The server cannot listen: the port is in use, say.
    Listen,
    /// The listener stopped to work.
    Accept,
    /// There is no tokio runtime where one is needed, or one where none may be, or it cannot start.
    Runtime,
    /// The server was ended at once, without draining.
    Interrupted,
    /// Nobody listens there, or cannot be reached.
    Connect,
    /// The connect or the reply timeout is over.
    TimedOut,
    /// The server closed the connection before it replied.
    Closed,
    /// The server refused the request; [`Error::refusal`] has its reason.
    Refused,
    /// The request cannot be sent in its format or framing.
    Request,
    /// As many requests are in flight as may be: a reply must be received first.
    Full,
    /// The reply is not what was expected.
    Reply,
    /// The connection cannot be used any more, because of an earlier failure, or because the server
    /// said something that was not asked for.
    Broken,
    /// The operating system reported an error on the connection.
    Io,
}

/// Whether a request that failed can have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "callers decide on retries by it and must see all"
)]
pub enum Execution {
    /// It was not sent: it was certainly not executed.
    NotSent,
    /// The server turned it away: it was certainly not executed.
    Refused,
    /// It was executed, at least in part, and failed.
    Failed,
    /// It was sent, and what became of it is not known.
    Unknown,
}

impl From<Repr> for Error {
    fn from(repr: Repr) -> Self {
        Self(Box::new(repr))
    }
}

impl Error {
    /// Returns what this error is about.
    pub fn kind(&self) -> ErrorKind {
        match *self.0 {
            Repr::Setting { .. } => ErrorKind::Setting,
            Repr::Address { .. } | Repr::Resolve { .. } => ErrorKind::Resolve,
            Repr::Listen { .. } => ErrorKind::Listen,
            Repr::Accept { .. } => ErrorKind::Accept,
            Repr::Start { .. }
            | Repr::Signals { .. }
            | Repr::OutsideRuntime { .. }
            | Repr::InsideRuntime { .. } => ErrorKind::Runtime,
            Repr::Interrupted { .. } => ErrorKind::Interrupted,
            Repr::Connect { .. } => ErrorKind::Connect,
            Repr::ConnectTimedOut { .. }
            | Repr::ReplyTimedOut { .. }
            | Repr::SaidNothing { .. }
            | Repr::NoRoom { .. } => ErrorKind::TimedOut,
            Repr::Closed { .. } | Repr::Gone { .. } => ErrorKind::Closed,
            Repr::Refused { .. } => ErrorKind::Refused,
            Repr::Encode { .. } | Repr::Unsendable { .. } => ErrorKind::Request,
            Repr::Full { .. } => ErrorKind::Full,
            Repr::Decode { .. } | Repr::Frame { .. } => ErrorKind::Reply,
            Repr::Broken { .. } | Repr::Lost { .. } | Repr::Ended { .. } => ErrorKind::Broken,
            Repr::Write { .. } | Repr::Read { .. } => ErrorKind::Io,
        }
    }

    /// Tells whether the request that failed can have been executed.
    ///
    /// Errors of a server are [`Execution::NotSent`].
    pub fn execution(&self) -> Execution {
        match &*self.0 {
            Repr::Refused { source, .. } if source.kind().is_unexecuted() => Execution::Refused,
            Repr::Refused { source, .. } if source.kind() == RejectionKind::Unknown => {
                Execution::Unknown
            }
            Repr::Refused { .. } => Execution::Failed,
            Repr::ReplyTimedOut { .. }
            | Repr::Closed { .. }
            | Repr::Decode { .. }
            | Repr::Frame { is_sent: true, .. }
            | Repr::Lost { .. }
            | Repr::Write { .. }
            | Repr::Read { .. } => Execution::Unknown,
            _ => Execution::NotSent,
        }
    }

    /// Returns the server's reason, if it refused the request.
    pub fn refusal(&self) -> Option<&Rejection> {
        match &*self.0 {
            Repr::Refused { source, .. } | Repr::Ended { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Returns the address that was listened on or connected to, where there is one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match &*self.0 {
            Repr::Listen { addr, .. } | Repr::Connect { addr, .. } => Some(*addr),
            Repr::ReplyTimedOut { peer, .. }
            | Repr::SaidNothing { peer, .. }
            | Repr::Closed { peer }
            | Repr::Gone { peer, .. }
            | Repr::Refused { peer, .. }
            | Repr::Decode { peer, .. }
            | Repr::Frame { peer, .. }
            | Repr::Broken { peer, .. }
            | Repr::Lost { peer, .. }
            | Repr::NoRoom { peer, .. }
            | Repr::Ended { peer, .. }
            | Repr::Write { peer, .. }
            | Repr::Read { peer, .. } => peer.addr(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(source) = cause {
            write!(f, ": {source}")?;
            cause = source.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::Peer;

    fn refused() -> Error {
        Error::from(Repr::Refused {
            peer: Peer::unnamed(),
            source: Rejection::busy("later\n"),
        })
    }

    #[test]
    fn error_is_one_pointer_that_threads_can_share() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn error_shows_one_level_and_its_chain_on_one_line() {
        let error = refused();
        assert_eq!(error.to_string(), "unnamed peer refused the request");
        assert_eq!(
            format!("{error:?}"),
            "unnamed peer refused the request: busy: later\\n"
        );
    }

    #[test]
    fn only_what_was_sent_can_have_been_executed() {
        let peer = Peer::unnamed;
        let source = || io::Error::from(io::ErrorKind::ConnectionReset);
        let gone = Repr::Gone {
            peer: peer(),
            source: Some(source()),
        };
        let read = Repr::Read {
            peer: peer(),
            source: source(),
        };
        for (error, execution) in [
            (refused(), Execution::Refused),
            (gone.into(), Execution::NotSent),
            (read.into(), Execution::Unknown),
            (Repr::Closed { peer: peer() }.into(), Execution::Unknown),
            (Repr::Interrupted { cut: 1 }.into(), Execution::NotSent),
        ] {
            assert_eq!(error.execution(), execution, "{error}");
        }
    }
}
