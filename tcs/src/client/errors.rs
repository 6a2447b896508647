//! The errors of clients.

use std::{error::Error as StdError, io, net::SocketAddr, sync::Arc, time::Duration};

use super::deadline::PassedLimit;
use crate::{
    Error, ErrorKind, Execution, Peer, Rejection, RejectionKind,
    format::{DecodeError, EncodeError},
    framing::FrameError,
};

/// The errors of connecting.
impl Error {
    /// Returns `true` if another attempt to connect would most likely fail as well, so that calls need not wait for it: a
    /// setting or a certificate is wrong, or the server has rejected what `on_connect` sent.
    pub(super) fn is_permanent(&self) -> bool {
        // The error that `on_connect` has returned.
        let source = StdError::source(self).and_then(<dyn StdError>::downcast_ref);
        let error: &Self = source.unwrap_or(self);
        let is_lost = error.is_connection_lost() || error.kind() == ErrorKind::TimedOut;
        !(error.is_retryable() || error.execution() == Execution::Unknown && is_lost)
    }

    pub(crate) fn connect(addr: SocketAddr, source: io::Error) -> Self {
        let message = format!("cannot connect to {addr}");
        let (peer, kind) = (Peer::at(addr), ErrorKind::Connect);
        Self::with_peer(&peer, kind, Execution::NotSent, message).with_source(source)
    }

    #[cfg(unix)]
    pub(crate) fn connect_path(path: &std::path::Path, source: io::Error) -> Self {
        let message = format!("cannot connect to {}", path.display());
        Self::new(ErrorKind::Connect, message).with_source(source)
    }

    #[cfg(feature = "tls")]
    pub(crate) fn handshake(host: &str, peer: &Peer, source: io::Error) -> Self {
        let message = format!("cannot connect to {host} over TLS");
        Self::with_peer(peer, ErrorKind::Connect, Execution::NotSent, message).with_source(source)
    }

    pub(crate) fn connect_timed_out(host: &str, limit: Duration) -> Self {
        let message = format!("cannot connect to {host} within {limit:?} (`connect_timeout`)");
        Self::new(ErrorKind::TimedOut, message)
    }

    pub(crate) fn open(source: io::Error) -> Self {
        Self::new(ErrorKind::Connect, "cannot open a stream to the server").with_source(source)
    }

    pub(crate) fn on_connect(peer: &Peer, source: Self) -> Self {
        let message = format!("`on_connect` failed for {peer}");
        Self::with_peer(peer, source.kind(), source.execution(), message).with_source(source)
    }

    pub(crate) fn on_connect_timed_out(peer: &Peer, limit: Duration) -> Self {
        let message =
            format!("`on_connect` for {peer} took longer than {limit:?} (`connect_timeout`)");
        Self::with_peer(peer, ErrorKind::TimedOut, Execution::NotSent, message)
    }

    /// The code that connects has panicked, most likely that of the user.
    pub(crate) fn connect_panicked(text: &str) -> Self {
        Self::new(ErrorKind::Setting, format!("connecting panicked: {text}"))
    }
}

/// The errors of a wait for a connection of a channel.
impl Error {
    pub(crate) fn no_room(peer: &Peer, late: PassedLimit) -> Self {
        let message = format!(
            "no room for a request to {peer} {late}: too many are in flight (`max_in_flight`) or too large"
        );
        Self::with_peer(peer, ErrorKind::TimedOut, Execution::NotSent, message)
    }

    /// No connection was made in time. `cause` is why the last attempt has failed.
    pub(crate) fn no_connection(cause: Option<&Arc<Self>>, late: PassedLimit) -> Self {
        let error = Self::new(ErrorKind::TimedOut, format!("no connection {late}"));
        match cause {
            Some(cause) => error.with_source(Arc::clone(cause)),
            None => error,
        }
    }

    /// The last attempt to connect has failed because of `cause`.
    pub(crate) fn not_connected(cause: &Arc<Self>) -> Self {
        let (kind, message) = (cause.kind(), "no connection");
        let error = match cause.peer() {
            Some(peer) => Self::with_peer(peer, kind, Execution::NotSent, message.to_owned()),
            None => Self::new(kind, message),
        };
        error.with_source(Arc::clone(cause))
    }
}

/// The errors of requests that were not sent.
impl Error {
    pub(crate) fn encode(source: EncodeError) -> Self {
        Self::new(ErrorKind::Request, "cannot encode the request").with_source(source)
    }

    pub(crate) fn unsendable(source: FrameError) -> Self {
        Self::new(ErrorKind::Request, "cannot send the request").with_source(source)
    }

    pub(crate) fn not_greeted() -> Self {
        let message = "the greeting of the server was not received: `receive` it, or `call` once, before \
                       many tasks share the connection";
        Self::new(ErrorKind::Request, message)
    }

    pub(crate) fn full(reason: &str) -> Self {
        let message =
            format!("the pipeline is full ({reason}): receive a reply before the next request");
        Self::new(ErrorKind::Full, message)
    }

    /// The connection ended, and the request was not sent.
    pub(crate) fn closed_before_sent(peer: &Peer) -> Self {
        let message = format!("{peer} closed the connection before the request was sent");
        Self::with_peer(peer, ErrorKind::Closed, Execution::NotSent, message)
    }

    /// The request was not sent, because the connection had been closed by this side.
    pub(crate) fn broken_before_sent(peer: &Peer, reason: &str) -> Self {
        let message = format!("the connection to {peer} is closed: {reason}");
        Self::with_peer(peer, ErrorKind::Broken, Execution::NotSent, message)
    }

    /// The request was not sent, because an earlier rejection was final.
    pub(crate) fn ended_before_sent(peer: &Peer, source: Rejection) -> Self {
        let message = format!("{peer} ended the connection");
        Self::with_peer(peer, ErrorKind::Broken, Execution::NotSent, message).with_source(source)
    }
}

/// The errors of requests that may have been executed.
impl Error {
    pub(crate) fn rejected(peer: &Peer, source: Rejection) -> Self {
        // The function has executed the request, so its error is an answer.
        let message = match source.kind() {
            RejectionKind::Error => format!("{peer} answered with an error"),
            _ => format!("{peer} rejected the request"),
        };
        let execution = match source.kind() {
            kind if kind.is_unexecuted() => Execution::NotExecuted,
            RejectionKind::Cancelled | RejectionKind::Unknown => Execution::Unknown,
            _ => Execution::Executed,
        };
        Self::with_peer(peer, ErrorKind::Rejected, execution, message).with_source(source)
    }

    /// No complete message has arrived in time.
    pub(crate) fn read_timed_out(peer: &Peer, late: PassedLimit) -> Self {
        let message = format!("no complete message from {peer} {late}");
        Self::with_peer(peer, ErrorKind::TimedOut, Execution::Unknown, message)
    }

    /// The server has not read all requests in time.
    pub(crate) fn write_timed_out(peer: &Peer, limit: Duration) -> Self {
        let message =
            format!("cannot send to {peer} within {limit:?} (`reply_timeout`): it does not read");
        Self::with_peer(peer, ErrorKind::TimedOut, Execution::Unknown, message)
    }

    pub(crate) fn reply_timed_out(peer: &Peer, late: PassedLimit) -> Self {
        let message = format!("no reply from {peer} {late}");
        Self::with_peer(peer, ErrorKind::TimedOut, Execution::Unknown, message)
    }

    pub(crate) fn closed_before_reply(peer: &Peer) -> Self {
        let message = format!("{peer} closed the connection before it replied");
        Self::with_peer(peer, ErrorKind::Closed, Execution::Unknown, message)
    }

    /// This side closed the connection after the request was sent.
    pub(crate) fn broken_before_reply(peer: &Peer, reason: &str) -> Self {
        let message = format!("the connection to {peer} was lost: {reason}");
        Self::with_peer(peer, ErrorKind::Broken, Execution::Unknown, message)
    }

    pub(crate) fn write(peer: &Peer, source: io::Error) -> Self {
        let message = format!("cannot send to {peer}");
        Self::with_peer(peer, ErrorKind::Io, Execution::Unknown, message).with_source(source)
    }

    pub(crate) fn read(peer: &Peer, source: io::Error) -> Self {
        let message = format!("cannot receive from {peer}");
        Self::with_peer(peer, ErrorKind::Io, Execution::Unknown, message).with_source(source)
    }
}

/// The errors of messages that cannot be read.
impl Error {
    pub(crate) fn no_frame(peer: &Peer, source: FrameError) -> Self {
        let message = format!("cannot read what {peer} sent");
        Self::with_peer(peer, ErrorKind::Reply, Execution::Unknown, message).with_source(source)
    }

    /// The reply is beyond the limit.
    #[cold]
    pub(crate) fn too_large(peer: &Peer, length: usize, max_reply_len: usize) -> Self {
        Self::no_frame(
            peer,
            FrameError::too_large(length, max_reply_len).of_reply(),
        )
    }

    pub(crate) fn decode(peer: &Peer, source: DecodeError) -> Self {
        let message = format!("cannot read the reply of {peer}");
        Self::with_peer(peer, ErrorKind::Reply, Execution::Unknown, message).with_source(source)
    }

    /// The reply is a stream of items, and one message was expected.
    #[cold]
    pub(crate) fn streamed(peer: &Peer) -> Self {
        Self::decode(
            peer,
            DecodeError::new("it is a stream of items, which `stream` receives"),
        )
    }

    /// The end of a stream was expected, and there are more items. `methods` take them.
    #[cold]
    pub(crate) fn items_left(peer: &Peer, methods: &str) -> Self {
        let text = format_args!("there are items before it, which {methods}");
        Self::decode(peer, DecodeError::new(text))
    }

    /// The stream has failed, and its error was returned.
    #[cold]
    pub(crate) fn stream_failed(peer: &Peer) -> Self {
        let source = DecodeError::new("its stream has ended with an error before");
        Self::decode(peer, source)
    }

    #[cold]
    pub(crate) fn wrong_operation(peer: &Peer) -> Self {
        let source = DecodeError::new("the reply is that of another operation");
        Self::decode(peer, source)
    }
}
