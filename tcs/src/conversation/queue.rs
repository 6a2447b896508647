//! The events that wait to be pushed to one peer.

use std::{
    collections::VecDeque,
    mem::take,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};

use bytes::Bytes;

use super::{ConversationLimits, PushError, encode};
use crate::format::Encode;
use crate::panics::lock;

/// How many bytes an event counts beside its own, so that empty events are limited, too. It is the size of a [`Bytes`].
const EVENT_OVERHEAD: usize = 32;
/// How many events an empty queue has room for at most.
const KEPT_EVENTS: usize = 16;

/// What happens to an event for which the queue of a connection has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushOverflow {
    /// The event is not queued, and its sender gets an error.
    #[default]
    Reject,
    /// The connection is closed. What is queued is dropped.
    Close,
    /// The oldest events are dropped in favour of the new one.
    DropOldest,
}

/// The events that wait to be pushed to one peer, encoded and not framed.
#[derive(Debug)]
pub(crate) struct PushQueue {
    limits: ConversationLimits,
    /// The requests of the connection that were answered since there is this queue.
    answered: AtomicU64,
    inner: Mutex<Inner>,
}

/// Which request a handle was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestNumber(u64);

impl RequestNumber {
    /// None: the events of this handle need not wait for a reply.
    pub(super) const NONE: Self = Self(u64::MAX);
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Bytes>,
    /// Behind `events`: from the first that a function has pushed to its own connection. They follow its reply.
    held: VecDeque<Bytes>,
    /// The bytes of all events, each with [`EVENT_OVERHEAD`].
    bytes: usize,
    /// The events that were taken, to be sent.
    taken: u64,
    /// The events that were dropped, and not counted yet.
    dropped: u64,
    state: State,
    /// The task of the connection, if it has looked for events.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The queue was full, and the connection must close.
    Overflowed,
    /// The connection is gone, or about to be.
    Closed,
}

impl PushQueue {
    pub(super) fn new(limits: ConversationLimits) -> Self {
        Self {
            limits,
            answered: AtomicU64::new(0),
            inner: Mutex::default(),
        }
    }

    /// Returns the request that is processed now, or comes next.
    pub(super) fn current_request(&self) -> RequestNumber {
        RequestNumber(self.answered.load(Ordering::Relaxed))
    }

    pub(super) const fn max_event_len(&self) -> usize {
        self.limits.frame_len
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Encodes an event. Returns `None` if the value declares that there is none.
    pub(super) fn encode_event<Format>(
        &self,
        event: impl Encode<Format>,
    ) -> Result<Option<Bytes>, PushError> {
        let mut bytes = Vec::new();
        let encoded = encode(event, &mut bytes, self.max_event_len()).map_err(PushError::unsent)?;
        Ok(encoded.then(|| bytes.into()))
    }

    /// Queues an event. If the function of `request` still runs, it follows the reply, and so do all events after it.
    ///
    /// Returns the task to wake, which the caller does without a lock, because wakers are foreign code.
    pub(super) fn push(
        &self,
        event: Bytes,
        request: RequestNumber,
    ) -> (Result<(), PushError>, Option<Waker>) {
        let mut inner = self.lock();
        if inner.state != State::Open {
            return (Err(PushError::closed()), None);
        }
        let is_held = request == self.current_request();
        let was_empty = inner.events.is_empty();
        let cost = event.len() + EVENT_OVERHEAD;
        let limit = self.limits.push_queue;
        let mut pushed = Ok(());
        if inner.bytes + cost > limit {
            match self.limits.push_overflow {
                PushOverflow::DropOldest if cost <= limit => inner.make_room(limit - cost),
                PushOverflow::Close => {
                    inner.state = State::Overflowed;
                    inner.clear();
                    pushed = Err(PushError::full(limit));
                }
                _ => return (Err(PushError::full(limit)), None),
            }
        }
        if pushed.is_ok() {
            inner.bytes += cost;
            if is_held || !inner.held.is_empty() {
                inner.held.push_back(event);
            } else {
                inner.events.push_back(event);
            }
        }
        // It looks at all events together.
        let must_wake = was_empty && !inner.events.is_empty() || inner.state != State::Open;
        let waker = inner.waker.as_ref().filter(|_| must_wake);
        (pushed, waker.cloned())
    }

    /// Notes that a request is answered, so that what its function has pushed can follow.
    pub(super) fn end_request(&self) {
        let mut inner = self.lock();
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut held = take(&mut inner.held);
        inner.events.append(&mut held);
    }

    /// Takes the oldest events, up to `budget` bytes, but at least one if there is room, and appends them to `events`.
    /// Returns `true` if there are more.
    ///
    /// When there are none any more, the next one wakes the task of `cx`.
    pub(crate) fn take_events(
        &self,
        budget: usize,
        events: &mut Vec<Bytes>,
        cx: Option<&Context<'_>>,
    ) -> bool {
        let mut inner = self.lock();
        let mut room = budget;
        while room > 0
            && let Some(event) = inner.events.pop_front()
        {
            room = room.saturating_sub(event.len() + 1);
            inner.bytes -= event.len() + EVENT_OVERHEAD;
            inner.taken += 1;
            events.push(event);
        }
        if inner.events.is_empty() {
            // The memory of a burst is not kept.
            inner.events.shrink_to(KEPT_EVENTS);
        }
        if let Some(cx) = cx {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        !inner.events.is_empty()
    }

    /// Returns how many events were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Returns `true` if the connection must close, because the queue was full.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.lock().state == State::Overflowed
    }

    /// Returns how many events were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        take(&mut self.lock().dropped)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().state != State::Open
    }

    /// Takes no further events. Those that are queued can be taken.
    pub(crate) fn seal(&self) {
        let mut inner = self.lock();
        if inner.state == State::Open {
            inner.state = State::Closed;
        }
    }

    /// Drops all events, also later ones. Returns how many were dropped since the last call of
    /// [`take_dropped`](Self::take_dropped).
    pub(crate) fn close(&self) -> u64 {
        let mut inner = self.lock();
        inner.state = State::Closed;
        inner.clear();
        let (dropped, waker) = (take(&mut inner.dropped), inner.waker.take());
        drop(inner);
        // It keeps the memory of the task, and a handle may keep the queue for long.
        drop(waker);
        dropped
    }
}

impl Inner {
    /// Drops the oldest events until at most `bytes` are left.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes > bytes
            && let Some(event) = self.events.pop_front().or_else(|| self.held.pop_front())
        {
            self.bytes -= event.len() + EVENT_OVERHEAD;
            self.dropped += 1;
        }
    }

    fn clear(&mut self) {
        self.dropped += (self.events.len() + self.held.len()) as u64;
        self.events = VecDeque::new();
        self.held = VecDeque::new();
        self.bytes = 0;
    }
}
