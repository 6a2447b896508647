//! The error type of this crate.

use std::{error::Error as StdError, fmt, io, net::SocketAddr, sync::Arc};

use crate::{Peer, Rejection};

mod kind;
#[cfg(test)]
mod tests;

pub use kind::{ErrorKind, Execution};

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a server or a client.
///
/// `Display` writes the error without its causes. `Debug` adds the causes on the same line, because
/// `fn main() -> tcs::Result<()>` prints that.
///
/// # What to do
///
/// | [`kind`](Self::kind) | [`execution`](Self::execution) | [retryable](Self::is_retryable) | [connection lost](Self::is_connection_lost) | what to do |
/// |---|---|---|---|---|
/// | `Connect` | `NotSent` | yes, unless TLS has failed | yes | connect again later; or correct the address or the certificates |
/// | `Resolve` | `NotSent` | yes, unless the address is invalid | no | connect again later; or correct the address |
/// | `TimedOut` | `NotSent` | yes | no | send it again later |
/// | `TimedOut` | `Unknown` | no | no, but a reply timeout closes a [`Connection`](crate::Connection) | send it again if it is safe to execute more than once |
/// | `Closed`, `Broken`, `Io` | `NotSent` | yes | yes | connect again, and send it again |
/// | `Closed`, `Broken`, `Io` | `Unknown` | no | yes | connect again, and send it again if it is safe to execute more than once |
/// | `Rejected`: *busy* | `NotExecuted` | yes | no | send it again later |
/// | `Rejected`: *going away*, *idle*, *too many connections* | `NotExecuted` | yes | yes | connect again, and send it again |
/// | `Rejected`: *bad request*, *too large* | `NotExecuted` | no | no | correct the request |
/// | `Rejected`: *protocol error* | `NotExecuted` | no | yes | correct the address or the protocol |
/// | `Rejected`: *error*, *timed out*, *failed* | `Executed` | no | no | treat it as the answer |
/// | `Rejected`: *cancelled*, or any other | `Unknown` | no | no | send it again if it is safe to execute more than once |
/// | `Reply` | `NotSent`, `Unknown` | no | no | correct the address or the protocol |
/// | `Request` | `NotSent` | no | no | correct the request |
/// | `Full` | `NotSent` | no | no | receive a reply, and send it again |
/// | `Setting`, `Listen`, `Accept`, `Runtime` | `NotSent` | no | no | correct the program or its environment |
/// | `Interrupted` | `NotSent` | no | no | nothing: you or a signal aborted the server |
/// | `Other` | `NotSent` | no | no | see your own error |
///
/// The table is for a [`Connection`](crate::Connection). A [`Channel`](crate::Channel) reconnects and [sends requests
/// again](crate::Channel#retries) by itself. If its error is retryable, the time or the budget for retries was used up,
/// or the channel does not retry. Report that the server is unavailable, or try again much later: a loop around the
/// call would add the load that the budget prevents. If the execution is `Unknown`, find out whether the request was
/// executed, or make the call [`idempotent`](crate::Channel::idempotent) if it is safe to execute more than once.
///
/// After a final rejection, further requests return an error of the kind `Broken`, which is retryable if that rejection
/// is.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    execution: Execution,
    /// The server, or the address to listen on.
    peer: Option<Peer>,
    /// The text of `Display`.
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Whether the source is an error of the user's, whose text is `message`.
    is_other: bool,
}

impl Error {
    /// Creates an error without a request that was sent.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            execution: Execution::NotSent,
            peer: None,
            message: message.into(),
            source: None,
            is_other: false,
        }))
    }

    /// Creates an error about a peer. The message names it.
    #[cold]
    pub(crate) fn with_peer(
        peer: &Peer,
        kind: ErrorKind,
        execution: Execution,
        message: String,
    ) -> Self {
        let mut error = Self::new(kind, message);
        error.0.peer = Some(peer.clone());
        error.0.execution = execution;
        error
    }

    #[cold]
    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the address that the error is about.
    #[cold]
    #[cfg(feature = "tls")]
    pub(crate) fn at(mut self, addr: SocketAddr) -> Self {
        self.0.peer = Some(Peer::at(addr));
        self
    }

    /// Creates an error of your own, such as a failed login in
    /// [`on_connect`](crate::client::ChannelOptions::on_connect).
    ///
    /// It has the text and the [source](StdError::source) of `error`, which [`downcast_ref`](Self::downcast_ref)
    /// returns. It is not [retryable](Self::is_retryable), even if `error` is a retryable `tcs::Error`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::ParseIntError;
    ///
    /// let wrong = "12a".parse::<u32>().unwrap_err();
    /// let error = tcs::Error::other(wrong);
    /// assert_eq!(error.to_string(), "invalid digit found in string");
    /// assert!(error.downcast_ref::<ParseIntError>().is_some());
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = error.into();
        let mut other = Self::new(ErrorKind::Other, error.to_string()).with_source(error);
        other.0.is_other = true;
        other
    }

    /// Changes whether the request was executed.
    #[cold]
    pub(crate) fn with_execution(mut self, execution: Execution) -> Self {
        self.0.execution = execution;
        self
    }

    /// Adds to the text that the request was not sent again, because its channel has no retry left.
    #[cold]
    pub(crate) fn beyond_budget(mut self) -> Self {
        let text = "; it was not sent again, because the budget of retries is used up";
        self.0.message.push_str(text);
        self
    }

    /// Changes an error of a request to that of one that was not sent, or of a wait without a request.
    #[cold]
    pub(crate) fn not_sent(self) -> Self {
        self.with_execution(Execution::NotSent)
    }

    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the server has executed the request that failed.
    ///
    /// It is [`Execution::NotSent`] for errors without a request, such as those of a server.
    pub fn execution(&self) -> Execution {
        self.0.execution
    }

    /// Returns `true` if the request is known not to have been executed, and another attempt may succeed.
    ///
    /// Such a request was not sent, or was rejected because the server is busy or closes the connection. Returns
    /// `false` if another attempt would fail too, as with an invalid setting or request, and if the request may have
    /// been executed, because only you know whether it is safe to execute more than once. See the
    /// [table](Self#what-to-do).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> tcs::Result<()> {
    /// # #[tcs::server_protocol]
    /// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
    /// # let mut connection = tcs::Connection::connect("localhost:7000").await?;
    /// let reply = match connection.call::<Greet>("Ann").await {
    ///     Err(error) if error.is_retryable() => {
    ///         if error.is_connection_lost() {
    ///             connection = tcs::Connection::connect("localhost:7000").await?;
    ///         }
    ///         connection.call::<Greet>("Ann").await?
    ///     }
    ///     reply => reply?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_retryable(&self) -> bool {
        if matches!(self.0.execution, Execution::Executed | Execution::Unknown) {
            return false;
        }
        if let Some(rejection) = self.rejection() {
            return rejection.kind().is_temporary();
        }
        match self.0.kind {
            ErrorKind::TimedOut | ErrorKind::Closed | ErrorKind::Broken | ErrorKind::Io => true,
            // An invalid address has no source. A name that cannot be resolved has the error of the resolver, which says
            // the same if the name does not exist and if no resolver can be reached.
            ErrorKind::Resolve => self.innermost().0.source.is_some(),
            // With `InvalidData`, TLS says that the certificate is wrong, or that the server does not speak TLS.
            ErrorKind::Connect => self
                .cause_as::<io::Error>()
                .is_none_or(|cause| cause.kind() != io::ErrorKind::InvalidData),
            _ => false,
        }
    }

    /// Returns `true` if the connection has ended, or could not be established.
    ///
    /// Reconnect before the next request, unless you use a [`Channel`](crate::Channel), which reconnects by itself. An
    /// error of the kind [`TimedOut`](ErrorKind::TimedOut) or [`Reply`](ErrorKind::Reply) may also have closed the
    /// connection; the next request is then not sent, and returns an error of the kind [`Broken`](ErrorKind::Broken).
    /// See the [table](Self#what-to-do).
    pub fn is_connection_lost(&self) -> bool {
        match self.0.kind {
            ErrorKind::Connect | ErrorKind::Closed | ErrorKind::Broken | ErrorKind::Io => true,
            ErrorKind::Rejected => {
                let rejection = self.rejection();
                rejection.is_some_and(|rejection| rejection.kind().is_final())
            }
            _ => false,
        }
    }

    /// Returns the reason of the server, if it has rejected this request, or an earlier one with a final rejection.
    pub fn rejection(&self) -> Option<&Rejection> {
        self.cause_as()
    }

    /// Returns the error that was passed to [`other`](Self::other), if it is a `T`. It may be a source of this error:
    /// the error of a call over a [`Channel`](crate::Channel) has that of
    /// [`on_connect`](crate::client::ChannelOptions::on_connect) among its sources.
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        let Inner {
            source, is_other, ..
        } = &*self.innermost().0;
        source.as_ref().filter(|_| *is_other)?.downcast_ref()
    }

    /// Returns the source of the innermost error, if it is a `T` of this library or of the system.
    fn cause_as<T: StdError + 'static>(&self) -> Option<&T> {
        let Inner {
            source, is_other, ..
        } = &*self.innermost().0;
        source.as_ref().filter(|_| !is_other)?.downcast_ref()
    }

    /// Returns the innermost error of this type among the sources, or this one. What the user has put into an error is
    /// not looked into.
    fn innermost(&self) -> &Self {
        if self.0.is_other {
            return self;
        }
        let source = self.0.source.as_ref().and_then(|source| {
            let shared = source.downcast_ref::<Arc<Self>>().map(AsRef::as_ref);
            shared.or_else(|| source.downcast_ref())
        });
        source.map_or(self, Self::innermost)
    }

    /// Returns the address of the server, or the address to listen on, if there is one.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer()?.addr()
    }

    /// Returns the server, or the address to listen on, if there is one.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.0.peer.as_ref()
    }
}

/// The errors of servers, settings and runtimes. `client/errors.rs` has the others.
impl Error {
    pub(crate) fn setting(setting: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Setting, format!("{setting} {reason}"))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(what: impl fmt::Display, source: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Setting, format!("TLS: {what}: {source}"))
    }

    /// The text of an address is invalid. Without a source, so that it is not retryable.
    pub(crate) fn address(address: &str, reason: &str) -> Self {
        let message = format!("cannot read the address `{address}`: {reason}");
        Self::new(ErrorKind::Resolve, message)
    }

    pub(crate) fn resolve(host: &str, source: io::Error) -> Self {
        Self::new(ErrorKind::Resolve, format!("cannot resolve {host}")).with_source(source)
    }

    pub(crate) fn listen(addr: SocketAddr, source: io::Error) -> Self {
        let message = format!("cannot listen on {addr}");
        let (peer, kind) = (Peer::at(addr), ErrorKind::Listen);
        Self::with_peer(&peer, kind, Execution::NotSent, message).with_source(source)
    }

    pub(crate) fn accept(source: io::Error) -> Self {
        Self::new(ErrorKind::Accept, "cannot accept connections any more").with_source(source)
    }

    pub(crate) fn start(source: io::Error) -> Self {
        Self::new(ErrorKind::Runtime, "cannot start a tokio runtime").with_source(source)
    }

    pub(crate) fn thread(source: io::Error) -> Self {
        Self::new(ErrorKind::Runtime, "cannot spawn a thread").with_source(source)
    }

    pub(crate) fn signals(source: io::Error) -> Self {
        Self::new(ErrorKind::Runtime, "cannot wait for signals").with_source(source)
    }

    pub(crate) fn outside_runtime(called: &str, instead: &str) -> Self {
        let message = format!("`{called}` was called outside of a tokio runtime{instead}");
        Self::new(ErrorKind::Runtime, message)
    }

    pub(crate) fn without_clock(called: &str) -> Self {
        let message = format!(
            "`{called}` was called in a tokio runtime without a clock: build it with `enable_all` or `enable_time`"
        );
        Self::new(ErrorKind::Runtime, message)
    }

    pub(crate) fn inside_runtime(called: &str, instead: &str) -> Self {
        let message = format!(
            "`{called}` was called inside of a tokio runtime: call `{instead}` and `.await` it"
        );
        Self::new(ErrorKind::Runtime, message)
    }

    pub(crate) fn blocking_in_async(called: &str) -> Self {
        let message = format!(
            "`{called}` of `tcs::blocking` would block `async` code: use `tcs::Connection` or `tcs::Channel`, or call it \
             in `spawn_blocking`"
        );
        Self::new(ErrorKind::Runtime, message)
    }

    pub(crate) fn interrupted(aborted: u64) -> Self {
        let message = format!("ended at once; requests aborted: {aborted}");
        Self::new(ErrorKind::Interrupted, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        // The text of an error of the user's is shown already, as that of this one.
        if self.0.is_other {
            source.source()
        } else {
            Some(source)
        }
    }
}
