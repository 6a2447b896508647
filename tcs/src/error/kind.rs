//! What has failed, and whether a request was executed.

use super::Error;

/// The kind of an [`Error`](crate::Error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting has an invalid value.
    Setting,
    /// An address is invalid, or its name cannot be resolved.
    Resolve,
    /// The server cannot listen, for example because the port is in use.
    Listen,
    /// The listener failed.
    Accept,
    /// There is no tokio runtime, it cannot start, or there is one although the method starts its own.
    Runtime,
    /// The server was aborted: by a second signal, or by
    /// [`ServerHandle::abort`](crate::server::ServerHandle::abort).
    Interrupted,
    /// Nothing listens at the address, or it cannot be reached.
    Connect,
    /// The connect timeout, the reply timeout or the deadline of the call has expired.
    TimedOut,
    /// The server closed the connection before it replied.
    Closed,
    /// The server rejected the request. [`Error::rejection`](crate::Error::rejection) returns the reason.
    Rejected,
    /// The request cannot be encoded, its framing cannot carry it, or the server's greeting was not
    /// received before the connection was shared.
    Request,
    /// The maximum number of requests is in flight. Receive a reply first.
    Full,
    /// The reply is not a frame, or cannot be decoded.
    Reply,
    /// The connection was closed by this side, because of an earlier failure or a message that answers
    /// no request.
    Broken,
    /// The operating system reported an error on the connection.
    Io,
    /// An error of your own, from [`Error::other`](crate::Error::other).
    Other,
}

/// Whether the server has executed a request that failed.
///
/// The table of [`Error`](crate::Error) says what to do in each case.
/// [Rejecting requests](crate#what-the-client-and-the-report-say) has a table of what each event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "callers decide about retries and must handle each case"
)]
pub enum Execution {
    /// It was not sent, so it is known not to have been executed.
    NotSent,
    /// The server rejected it before the function ran.
    NotExecuted,
    /// It was executed, at least in part, and failed.
    Executed,
    /// It was sent, and may have been executed.
    Unknown,
}

impl From<Error> for Execution {
    fn from(error: Error) -> Self {
        error.execution()
    }
}
