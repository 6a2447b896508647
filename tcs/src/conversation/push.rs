//! Events that a server pushes.

use std::{fmt, marker::PhantomData, sync::Arc};

use super::push_queue::{PushError, PushQueue, RequestNumber};
use crate::{ConnectionInfo, FromContext, Rejection, format::Encode, panics::wake_all};

/// A protocol whose server pushes events.
///
/// The option `push = Event<'_>` of [`#[server_protocol]`](crate::server_protocol) implements it. By hand:
///
/// ```
/// use tcs::{format::Plain, protocol::Pushes};
///
/// /// Names the events.
/// enum Chat {}
///
/// impl Pushes for Chat {
///     type Format = Plain;
///     type Event<'a> = &'a str;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no events to push",
    label = "no `Pushes`",
    note = "name the protocol, as in `Push<Chat>`, and add the type of the events to its attribute: `#[server_protocol(push = Event<'_>)]`"
)]
// Where a handle is used without its option, rustc shows the line of the trait, so it says what to write.
#[rustfmt::skip]
pub trait Pushes { // implemented by `#[server_protocol(push = Event<'_>)]`
    /// The format of the events.
    type Format;
    /// An event, which may borrow.
    type Event<'a>;

    /// Returns `true` if a message is an event.
    ///
    /// Clients need this method for framings that do not distinguish events from replies: all but
    /// [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed).
    ///
    /// Default: `false`.
    fn is_push(message: &[u8]) -> bool {
        let _ = message;
        false
    }

    /// Whether [`is_push`](Self::is_push) distinguishes events from replies. `false` if the option `push` is used
    /// without `is_push`.
    #[doc(hidden)]
    const HAS_IS_PUSH: bool = true;
}

/// Pushes events to the peer of one connection.
///
/// Take it as a parameter, with the option `push`. You can clone it, store it, and use it from any task or thread while
/// the connection is open. `P` is the protocol, which names the type of the events.
///
/// An event is encoded immediately, and waits in a queue of the connection. The queue has a limit
/// ([`max_push_queue`](crate::server::Server::max_push_queue)), so a slow peer affects nobody else;
/// [`PushOverflow`](crate::protocol::PushOverflow) says what happens at the limit. A queue of more than 128 KiB also
/// takes memory from the [`memory_budget`](crate::server::Server::memory_budget), and is full if there is none.
///
/// Events of one connection are sent in the order in which they were pushed. An event that a function pushes to its own
/// connection is sent after its reply, and so are later events for this connection: do not wait for long after such a
/// push. An event that is pushed with a handle from an earlier request, such as one stored in the session, does not
/// wait for the reply. If requests run concurrently ([`CONCURRENT`](crate::protocol::ServerProtocol::CONCURRENT)),
/// events never wait for replies.
///
/// When the connection closes, queued events are dropped. A draining server sends them first.
///
/// Events do not count as activity of the peer: [`idle_timeout`](crate::server::Server::idle_timeout) closes the
/// connection of a peer that only listens, unless you change the timeout ([`ConnectionInfo::set_idle_timeout`]).
pub struct Push<P> {
    queue: Arc<PushQueue>,
    /// The request whose function took this handle.
    request: RequestNumber,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Pushes> Push<P> {
    /// Queues an event for the peer.
    ///
    /// An event that the framing cannot carry, such as one with a line feed over [`Lines`](crate::framing::Lines), is
    /// dropped later: it is logged, and counts as [`dropped`](crate::server::EventCounts::dropped).
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is closed ([`is_closed`](PushError::is_closed)), if its queue is full
    /// ([`is_full`](PushError::is_full)), or if the event cannot be encoded or is longer than
    /// [`max_reply_len`](crate::server::Server::max_reply_len).
    pub fn try_send<'e>(&self, event: P::Event<'e>) -> Result<(), PushError>
    where
        P::Event<'e>: Encode<P::Format>,
    {
        let Some(event) = self.queue.encode_event::<P::Format>(event)? else {
            return Ok(());
        };
        let (pushed, waker) = self.queue.push(event, self.request);
        wake_all(waker);
        pushed
    }
}

impl<P> Push<P> {
    /// Creates a handle for the request that is processed now.
    pub(super) fn new(queue: Arc<PushQueue>) -> Self {
        Self {
            request: queue.current_request(),
            queue,
            protocol: PhantomData,
        }
    }

    /// Returns `true` if the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    pub(super) const fn queue(&self) -> &Arc<PushQueue> {
        &self.queue
    }
}

impl<P> Clone for Push<P> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            request: self.request,
            protocol: PhantomData,
        }
    }
}

impl<P> fmt::Debug for Push<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl ConnectionInfo {
    /// Returns the queue of events, which is created by the first call.
    pub(crate) fn push_queue(&self) -> &Arc<PushQueue> {
        self.conversation().push_queue(&self.server().memory)
    }

    /// Returns a handle that pushes events to the peer, as the parameter [`Push`] of a function does.
    pub fn push<P: Pushes>(&self) -> Push<P> {
        Push::new(Arc::clone(self.push_queue()))
    }
}

impl<P: Pushes> FromContext<'_> for Push<P> {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.push())
    }
}
