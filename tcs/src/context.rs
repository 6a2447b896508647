//! The data that a protocol function can use besides its request.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    Peer, Rejection,
    blocking_permits::BlockingPermits,
    buffer::MemoryBudget,
    conversation::{Conversation, ConversationLimits},
    deadline::inherited,
    draining::DrainSignal,
};

/// The properties of an open connection.
#[derive(Debug)]
pub struct ConnectionInfo {
    peer: Peer,
    local_addr: Option<SocketAddr>,
    id: u64,
    /// When it was accepted, in nanoseconds since `ServerContext::created`: an `Instant` takes twice the memory.
    opened: u64,
    /// When the connection drains because of its age, as [`DrainSignal`] counts.
    retires: u64,
    server: Arc<ServerContext>,
    /// Set once a function uses a part of it. Boxed, because each idle connection pays for its size.
    conversation: OnceLock<Box<Conversation>>,
}

impl ConnectionInfo {
    /// Creates the properties of a connection without a server, for tests that call a protocol
    /// directly.
    pub fn new(peer: Peer) -> Self {
        let limits = ConversationLimits::DEFAULT;
        let memory = MemoryBudget::new(usize::MAX);
        let server = Arc::new(ServerContext::new(usize::MAX, None, limits, memory));
        Self::of(peer, None, 0, DrainSignal::NEVER, server)
    }

    pub(crate) fn of(
        peer: Peer,
        local_addr: Option<SocketAddr>,
        id: u64,
        retires: u64,
        server: Arc<ServerContext>,
    ) -> Self {
        Self {
            peer,
            local_addr,
            id,
            opened: server.nanos_since_created(),
            retires,
            server,
            conversation: OnceLock::new(),
        }
    }

    /// Returns the other end of the connection.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) const fn peer_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// Returns the address on which the peer reached the server, or `None` if the transport has
    /// none.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Returns the number of this connection. The server's first connection is 1.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the time at which the connection was accepted.
    pub fn opened(&self) -> Instant {
        self.server.created + Duration::from_nanos(self.opened)
    }

    pub(crate) const fn retires(&self) -> u64 {
        self.retires
    }

    /// Sets how long the peer of this connection may be silent, instead of
    /// [`idle_timeout`](crate::server::Server::idle_timeout).
    ///
    /// Use it for a peer that has logged in, or that only listens to events. The time counts from the next wait for a
    /// request, and may end a quarter of a second late.
    pub fn set_idle_timeout(&self, limit: Duration) {
        self.conversation().set_idle_timeout(limit);
    }

    /// Returns the time at which [`request_timeout`](crate::server::Server::request_timeout) ends for the current
    /// function, or `None` without such a limit. The function is dropped up to a quarter of a second later.
    ///
    /// With [`Replies`](crate::protocol::Replies) and [`Requests`](crate::protocol::Requests), the deadline moves with
    /// each message. It is known only in the function itself, not in a task or thread that the function starts. A
    /// function that never waits has none. Calls that the function makes inherit the deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tcs::{ConnectionInfo, server_protocol};
    /// use tokio::time::Instant;
    ///
    /// /// Leaves out what may take too long.
    /// #[server_protocol]
    /// async fn search(words: &str, info: &ConnectionInfo) -> String {
    ///     let second = Instant::now() + Duration::from_secs(1);
    ///     let is_thorough = info.deadline().is_none_or(|deadline| deadline > second);
    ///     format!("{words}: {is_thorough}")
    /// }
    /// ```
    pub fn deadline(&self) -> Option<tokio::time::Instant> {
        inherited()
    }

    /// Returns what the connection has beside its requests and replies. Creates it if there is nothing yet.
    pub(crate) fn conversation(&self) -> &Conversation {
        // Created on the first use: most connections have no conversation, and an idle one pays for every byte.
        let limits = self.server.conversation;
        self.conversation
            .get_or_init(|| Box::new(Conversation::new(limits)))
    }

    /// Returns the properties for one of several requests that are processed at the same time.
    pub(crate) fn for_request(&self) -> Self {
        Self {
            peer: self.peer.clone(),
            local_addr: self.local_addr,
            id: self.id,
            opened: self.opened,
            retires: self.retires,
            server: Arc::clone(&self.server),
            conversation: OnceLock::new(),
        }
    }

    /// Lets the conversations of the connection and of one of its requests have in common what belongs to the
    /// connection, if one of them has begun. Only the conversation of the request may begin in between.
    pub(crate) fn join_conversations(&self, request: &Self) {
        // A handle of either must reach the same queue, whichever was used first.
        match (self.open_conversation(), request.open_conversation()) {
            (Some(ours), None) => drop(request.conversation.set(Box::new(ours.share()))),
            (None, Some(theirs)) => {
                theirs.refuse_chunks();
                drop(self.conversation.set(Box::new(theirs.share())));
            }
            _ => {}
        }
    }

    /// Returns what the connection has beside its requests and replies, if there is something.
    #[inline]
    pub(crate) fn open_conversation(&self) -> Option<&Conversation> {
        self.conversation.get().map(|conversation| &**conversation)
    }

    pub(crate) fn server(&self) -> &ServerContext {
        &self.server
    }

    /// Runs a function that blocks its thread, without blocking other connections.
    ///
    /// On a multi-threaded runtime, the function runs under [`tokio::task::block_in_place`], after the replies to
    /// earlier requests are sent. At most [`max_blocking`](crate::server::Server::max_blocking) run concurrently.
    /// On a current-thread runtime, or without a runtime, the function runs in place and everything else waits. The
    /// function may borrow. It runs to completion, whatever happens to the connection.
    ///
    /// # Panics
    ///
    /// Panics in a [`LocalSet`](tokio::task::LocalSet) on a multi-threaded runtime, where tokio does not allow
    /// `block_in_place`. In a server's function, the request then fails.
    ///
    /// # Errors
    ///
    /// Returns a rejection as *busy*, without calling the function, if the call has waited longer than
    /// [`max_queue_time`](crate::server::Server::max_queue_time) for others.
    ///
    /// # Cancel safety
    ///
    /// If you drop the future before the function starts, it never runs. Once started, it runs to completion.
    pub async fn block<T>(&self, function: impl FnOnce() -> T) -> Result<T, Rejection> {
        self.server.blocking.run(function).await
    }
}

/// What a server shares with the functions of all its connections.
#[derive(Debug)]
pub(crate) struct ServerContext {
    created: Instant,
    blocking: BlockingPermits,
    /// What the queues of events reserve.
    pub(crate) memory: Arc<MemoryBudget>,
    conversation: ConversationLimits,
    pub(crate) drain: DrainSignal,
}

impl ServerContext {
    /// Creates the context of a server that runs up to `max_blocking` functions under `blocking`, which may wait for
    /// `max_wait`.
    pub(crate) fn new(
        max_blocking: usize,
        max_wait: Option<Duration>,
        conversation: ConversationLimits,
        memory: Arc<MemoryBudget>,
    ) -> Self {
        Self {
            memory,
            conversation,
            created: Instant::now(),
            blocking: BlockingPermits::new(max_blocking, max_wait),
            drain: DrainSignal::default(),
        }
    }

    fn nanos_since_created(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The context of a request, passed to [`process_request`](crate::protocol::ServerProtocol::process_request).
#[derive(Debug)]
#[non_exhaustive]
pub struct Context<'a, Session> {
    /// The properties of the connection, including its [`peer`](ConnectionInfo::peer).
    pub info: &'a ConnectionInfo,
    /// The data that the connection keeps between its requests. With `concurrent`, it is in an [`Arc`].
    pub session: &'a mut Session,
}

impl<'a, Session> Context<'a, Session> {
    /// Creates a context, for tests that call a protocol without a server.
    pub const fn new(info: &'a ConnectionInfo, session: &'a mut Session) -> Self {
        Self { info, session }
    }

    /// Returns the other end of the connection.
    pub const fn peer(&self) -> &'a Peer {
        self.info.peer()
    }
}

/// A function parameter that comes from the connection, not from the request.
///
/// Every parameter of a protocol function after the request, without a helper attribute, has such a type:
/// [`&Peer`](Peer), [`&ConnectionInfo`](ConnectionInfo), [`SocketAddr`] (the peer's),
/// [`Draining`](crate::protocol::Draining), a detail of the peer such as `&TlsInfo` or `UCred`, an [`Option`] of one of
/// them, or your own. In a module of functions, write `#[context]` before such a parameter, because it would otherwise
/// be an argument of the request ([exceptions](macro@crate::server_protocol#a-module-of-functions)).
///
/// A type with this trait is never read from the request, even if it implements serde's traits: otherwise, any client
/// could send one. This is not checked for a protocol with type parameters.
///
/// # Examples
///
/// ```
/// use tcs::{ConnectionInfo, Rejection, protocol::FromContext, server_protocol};
///
/// /// Proof that the request comes from this machine.
/// struct Local;
///
/// impl FromContext<'_> for Local {
///     fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
///         match info.peer().addr() {
///             Some(addr) if addr.ip().is_loopback() => Ok(Self),
///             _ => Err(Rejection::bad_request("only from this machine")),
///         }
///     }
/// }
///
/// #[server_protocol]
/// fn reload(name: &str, _proof: Local) -> String {
///     format!("{name} reloaded")
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the request nor known from the connection",
    label = "not a `FromContext` type",
    note = "the request is the first parameter without a helper attribute, and there is one: a struct or a tuple can hold several values",
    note = "write `#[state]` before what all connections share, `#[session]` before what one keeps",
    note = "any other parameter is `&Peer`, `&ConnectionInfo`, `SocketAddr`, or a type with `FromContext`"
)]
#[doc(alias = "extractor")]
pub trait FromContext<'a>: Sized {
    /// Takes the value from the connection, or rejects the request.
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection>;
}

/// Returns `None` in place of a rejection.
impl<'a, T: FromContext<'a>> FromContext<'a> for Option<T> {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(T::from_context(info).ok())
    }
}

impl<'a> FromContext<'a> for &'a Peer {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.peer())
    }
}

impl<'a> FromContext<'a> for &'a ConnectionInfo {
    fn from_context(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info)
    }
}

/// Returns the peer's address. Rejects the request if the transport has none.
impl FromContext<'_> for SocketAddr {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        info.peer().addr().ok_or_else(|| {
            Rejection::bad_request("this function needs the address of its peer, and there is none")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Poll, Waker},
    };

    use super::*;

    #[test]
    fn blocking_function_runs_without_a_runtime() {
        let info = ConnectionInfo::new(Peer::unnamed());
        let mut blocked = pin!(info.block(|| 1));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert_eq!(blocked.as_mut().poll(&mut cx), Poll::Ready(Ok(1)));
    }
}
