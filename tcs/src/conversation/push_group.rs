//! Events that a server pushes to several connections.

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;

use super::{
    Push, Pushes, encode,
    push_queue::{PushError, PushQueue, RequestNumber},
};
use crate::{
    format::Encode,
    panics::{lock, wake_all},
    sync::{Mutex, MutexGuard},
};

/// A group of connections that receive the same events.
///
/// An event is encoded once for all members. Closed connections leave the group automatically.
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
#[doc(alias = "broadcast")]
pub struct PushGroup<P> {
    /// The key is the address of the queue, which no other queue can have while the member is here.
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
            // The next search is then far away.
            let len = members.len();
            members.reserve(len);
        }
        let queue = Arc::clone(push.queue());
        members.insert(key(&queue), queue).is_none()
    }

    /// Removes a connection. Returns `false` if it is not a member.
    pub fn leave(&self, push: &Push<P>) -> bool {
        self.lock().remove(&key(push.queue())).is_some()
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
    /// Queues an event for every member, and returns the number of members for which it was queued.
    ///
    /// Members whose queues are full are skipped. An event that the framing of a member cannot carry is dropped later,
    /// as with [`Push::try_send`].
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

    /// Queues an event for every member except one, usually the sender. Otherwise like [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send).
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
        let skipped = except.map(|push| key(push.queue()));
        let mut members = self.lock();
        members.retain(|_, queue| !queue.is_closed());
        let others = members.iter().filter(|(key, _)| Some(**key) != skipped);
        let limit = others.map(|(_, queue)| queue.max_event_len()).min();
        drop(members);
        let Some(limit) = limit else {
            return Ok(0);
        };
        let mut bytes = Vec::new();
        if !encode(event, &mut bytes, limit).map_err(PushError::unsendable)? {
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
        wake_all(wakers);
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

/// Returns the key of a member.
fn key(queue: &Arc<PushQueue>) -> usize {
    Arc::as_ptr(queue).addr()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::{Context, Wake},
    };

    use super::{super::ConversationLimits, *};
    use crate::{buffer::MemoryBudget, format::Plain};

    pub(in super::super) enum Room {}

    impl Pushes for Room {
        type Format = Plain;
        type Event<'a> = &'a str;
    }

    impl Push<Room> {
        /// Creates a handle of a connection that takes events of at most this length.
        pub(in super::super) fn of_connection(message_len: usize) -> Self {
            let limits = ConversationLimits {
                message_len,
                ..ConversationLimits::DEFAULT
            };
            Self::new(Arc::new(PushQueue::new(limits, MemoryBudget::new(1 << 20))))
        }

        pub(in super::super) fn close_connection(&self) {
            let _: u64 = self.queue().close();
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

    #[test]
    fn waker_that_panics_keeps_no_other_member_from_an_event() {
        /// Counts its calls, and panics.
        struct Bomb(Arc<AtomicUsize>);
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
                panic!("on purpose");
            }
        }
        let group = PushGroup::new();
        let members = [member(&group, 100), member(&group, 100)];
        let woken = Arc::default();
        let waker = Arc::new(Bomb(Arc::clone(&woken))).into();
        for member in &members {
            let cx = Context::from_waker(&waker);
            let taken = (member.queue()).take_events(100, &mut Vec::new(), Some(&cx));
            assert_eq!(taken, Some(false));
        }
        assert_eq!(group.send("hello").ok(), Some(2));
        assert_eq!(woken.load(Relaxed), 2);
    }
}
