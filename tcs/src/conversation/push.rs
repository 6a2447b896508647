//! Events that a server pushes.

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc, task::Waker};

use bytes::Bytes;

use super::{
    encode,
    push_queue::{PushError, PushQueue, RequestNumber},
};
use crate::{
    ConnectionInfo, FromContext, Rejection,
    format::Encode,
    panics::lock,
    sync::{Mutex, MutexGuard},
};

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
    /// An event. It may borrow.
    type Event<'a>;

    /// Returns `true` if a message is an event.
    ///
    /// Clients need it for framings that do not distinguish events from replies: all but
    /// [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed).
    ///
    /// Default: `false`.
    fn is_push(message: &[u8]) -> bool {
        let _ = message;
        false
    }

    /// Whether [`is_push`](Self::is_push) tells events from replies. Not so, the option `push` is without `is_push`.
    #[doc(hidden)]
    const HAS_IS_PUSH: bool = true;
}

/// Pushes events to the peer of one connection.
///
/// Take it as a parameter, with the option `push`, and keep it: it can be cloned, stored and used from any task or thread,
/// for as long as the connection is open. `P` is the protocol, which names the type of the events.
///
/// An event is encoded at once. It waits in a queue of the connection, which has a limit
/// ([`max_push_queue`](crate::server::Server::max_push_queue)), so that a peer that reads slowly harms nobody else. A
/// queue of more than 128 KiB also needs memory of the
/// [`memory_budget`](crate::server::Server::memory_budget), and is full if there is none. The
/// events of one connection arrive in the order in which they were pushed. What a function pushes to its own connection
/// is sent after its reply, and later events for this connection, from anyone, queue after it. So a function that waits
/// for long after such a push holds up all of them. What is pushed with a handle from an earlier request, such as
/// one that the session keeps, does not wait for the reply. If requests are processed at the same time
/// ([`CONCURRENT`](crate::protocol::ServerProtocol::CONCURRENT)), events wait for no reply.
///
/// When the connection closes, events that were not sent are dropped. A server that drains sends
/// them first.
///
/// Events are no activity of the peer: [`idle_timeout`](crate::server::Server::idle_timeout) closes the connection of a
/// peer that only listens, unless it is changed ([`ConnectionInfo::set_idle_timeout`]).
pub struct Push<P> {
    queue: Arc<PushQueue>,
    /// The request whose function took this handle.
    request: RequestNumber,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Pushes> Push<P> {
    /// Queues an event for the peer.
    ///
    /// Whether the framing can carry it is known when it is sent: an event with a line feed over
    /// [`Lines`](crate::framing::Lines) is dropped, counts as [`dropped`](crate::server::EventCounts::dropped), and is
    /// logged. [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed) carry
    /// any event.
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
        if let Some(waker) = waker {
            waker.wake();
        }
        pushed
    }
}

impl<P> Push<P> {
    /// Returns `true` if the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    #[cfg(test)]
    pub(super) const fn queue(&self) -> &Arc<PushQueue> {
        &self.queue
    }

    fn key(&self) -> usize {
        Arc::as_ptr(&self.queue).addr()
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

    /// Returns what pushes events to the peer, as the parameter [`Push`] of a function does.
    pub fn push<P: Pushes>(&self) -> Push<P> {
        let queue = Arc::clone(self.push_queue());
        Push {
            request: queue.current_request(),
            queue,
            protocol: PhantomData,
        }
    }
}

impl<P: Pushes> FromContext<'_> for Push<P> {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(info.push())
    }
}

/// Connections that receive the same events.
///
/// An event is encoded once for all members. Connections that close leave the group by themselves.
///
/// # Examples
///
/// ```
/// use tcs::{framing::Lines, protocol::{Push, PushGroup}, server_protocol};
///
/// /// Sends each line to everyone who has said something.
/// #[server_protocol(framing = Lines, push = &str)]
/// fn chat(line: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> Result<String, String> {
///     room.join(&push);
///     let receivers = room.send(line)?;
///     Ok(format!("sent to {receivers}"))
/// }
///
/// let chat = Chat::new(PushGroup::new());
/// # let _ = chat;
/// ```
pub struct PushGroup<P> {
    /// By the address of the queue, which a member keeps from being used again.
    members: Mutex<HashMap<usize, Arc<PushQueue>>>,
    protocol: PhantomData<fn() -> P>,
}

impl<P> PushGroup<P> {
    /// Creates a group without members.
    pub fn new() -> Self {
        Self {
            members: Mutex::default(),
            protocol: PhantomData,
        }
    }

    /// Adds a connection. Returns `false` if it is a member already.
    pub fn join(&self, push: &Push<P>) -> bool {
        let mut members = self.lock();
        if members.len() == members.capacity() {
            // A group to which nobody sends forgets members as well, before it grows.
            members.retain(|_, queue| !queue.is_closed());
            // So that it is long until the next time.
            let len = members.len();
            members.reserve(len);
        }
        members
            .insert(push.key(), Arc::clone(&push.queue))
            .is_none()
    }

    /// Removes a connection. Returns `false` if it is not a member.
    pub fn leave(&self, push: &Push<P>) -> bool {
        self.lock().remove(&push.key()).is_some()
    }

    /// Returns the number of members whose connections are open.
    pub fn len(&self) -> usize {
        let mut members = self.lock();
        members.retain(|_, queue| !queue.is_closed());
        members.len()
    }

    /// Returns `true` if no member's connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Arc<PushQueue>>> {
        lock(&self.members)
    }
}

impl<P: Pushes> PushGroup<P> {
    /// Queues an event for every member. Returns the number of members for which it was queued: not those whose queues are
    /// full. An event that the framing of a member cannot carry is dropped later, as [`Push::try_send`] says.
    ///
    /// # Errors
    ///
    /// Returns an error if the event cannot be encoded, or is longer than the
    /// [`max_reply_len`](crate::server::Server::max_reply_len) of a member's server.
    pub fn send<'e>(&self, event: P::Event<'e>) -> Result<usize, PushError>
    where
        P::Event<'e>: Encode<P::Format>,
    {
        self.send_except(event, None)
    }

    /// Queues an event for every member but one, usually its sender. As [`send`](Self::send) otherwise.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_to_others<'e>(
        &self,
        sender: &Push<P>,
        event: P::Event<'e>,
    ) -> Result<usize, PushError>
    where
        P::Event<'e>: Encode<P::Format>,
    {
        self.send_except(event, Some(sender))
    }

    fn send_except<'e>(
        &self,
        event: P::Event<'e>,
        except: Option<&Push<P>>,
    ) -> Result<usize, PushError>
    where
        P::Event<'e>: Encode<P::Format>,
    {
        let skipped = except.map(Push::key);
        let mut members = self.lock();
        members.retain(|_, queue| !queue.is_closed());
        let others = members.iter().filter(|(key, _)| Some(**key) != skipped);
        let limit = others.map(|(_, queue)| queue.max_event_len()).min();
        drop(members);
        let Some(limit) = limit else {
            return Ok(0);
        };
        let mut bytes = Vec::new();
        if !encode(event, &mut bytes, limit).map_err(PushError::unsent)? {
            return Ok(0);
        }
        let event = Bytes::from(bytes);
        let mut members = self.lock();
        let (mut wakers, mut sent) = (Vec::new(), 0);
        members.retain(|key, queue| {
            // A member that has joined meanwhile may have another limit.
            if Some(*key) == skipped || event.len() > queue.max_event_len() {
                return true;
            }
            let (pushed, waker) = queue.push(event.clone(), RequestNumber::NONE);
            wakers.extend(waker);
            sent += usize::from(pushed.is_ok());
            !pushed.is_err_and(|error| error.is_closed())
        });
        drop(members);
        // Without the lock, because wakers are foreign code.
        wakers.into_iter().for_each(Waker::wake);
        Ok(sent)
    }
}

impl<P> Default for PushGroup<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for PushGroup<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushGroup")
            .field("members", &self.lock().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::ConversationLimits, *};
    use crate::{buffer::MemoryBudget, format::Plain};

    pub(in super::super) enum Room {}

    impl Pushes for Room {
        type Format = Plain;
        type Event<'a> = &'a str;
    }

    impl Push<Room> {
        /// Returns one of a connection that takes events of at most this length.
        pub(in super::super) fn of_connection(message_len: usize) -> Self {
            let limits = ConversationLimits {
                message_len,
                ..ConversationLimits::DEFAULT
            };
            let queue = PushQueue::new(limits, MemoryBudget::new(1 << 20));
            Self {
                queue: Arc::new(queue),
                request: RequestNumber::NONE,
                protocol: PhantomData,
            }
        }

        pub(in super::super) fn close_connection(&self) {
            let _: u64 = self.queue.close();
        }
    }

    fn member(group: &PushGroup<Room>, message_len: usize) -> Push<Room> {
        let push = Push::of_connection(message_len);
        assert!(group.join(&push));
        push
    }

    #[test]
    fn event_is_limited_by_those_who_get_it() {
        let group = PushGroup::new();
        let (long, short) = (member(&group, 100), member(&group, 4));
        assert!(group.send("hello").is_err());
        assert!(group.send_to_others(&long, "hello").is_err());
        assert_eq!(group.send_to_others(&short, "hello").ok(), Some(1));
        short.close_connection();
        assert_eq!(group.send("hello").ok(), Some(1));
        long.close_connection();
        assert_eq!(group.send("hello").ok(), Some(0));
    }
}
