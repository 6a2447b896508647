//! The events that wait to be pushed to one peer.

use std::{
    collections::VecDeque,
    error, fmt,
    mem::take,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;

use super::{ConversationLimits, encode};
use crate::{
    buffer::{MemoryBudget, Reservation},
    format::Encode,
    panics::lock,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// What an event costs in addition to its length, so that empty events are limited, too: the size of a [`Bytes`].
const EVENT_OVERHEAD: usize = 32;

/// Returns how much of `max_push_queue` an event takes.
const fn cost(event: &Bytes) -> usize {
    event.len() + EVENT_OVERHEAD
}

/// How many events an empty queue has room for at most.
const KEPT_EVENTS: usize = 16;

/// What happens to an event for which the queue of a connection has no room: the setting
/// [`push_overflow`](crate::server::Server::push_overflow).
///
/// An event that alone exceeds the limit of the queue is never queued, and its sender gets an error: the peer can do
/// nothing about it.
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
    memory: Arc<MemoryBudget>,
    /// How many requests of the connection were answered since this queue exists.
    answered: AtomicU64,
    inner: Mutex<Inner>,
}

/// The request that a handle was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestNumber(u64);

impl RequestNumber {
    /// No request: the events of this handle wait for no reply.
    pub(super) const NONE: Self = Self(u64::MAX);
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Bytes>,
    /// The events after `events`, from the first that a function has pushed to its own connection: all follow its reply.
    held: VecDeque<Bytes>,
    /// The [`cost`] of all events.
    cost: usize,
    /// What many events have of the memory budget. This reservation is dropped without the lock, because the drop wakes
    /// other tasks.
    reserved: Option<Reservation>,
    /// How many events were taken, to be sent.
    taken: u64,
    /// How many events were dropped, and not counted yet.
    dropped: u64,
    state: QueueState,
    /// The task of the connection, if it has looked for events and was not woken since. `None` when the queue is closed.
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QueueState {
    #[default]
    Open,
    /// The queue was full, and the connection must close.
    Overflowed,
    /// The connection is gone, or about to be.
    Closed,
}

impl PushQueue {
    pub(super) fn new(limits: ConversationLimits, memory: Arc<MemoryBudget>) -> Self {
        Self {
            limits,
            memory,
            answered: AtomicU64::new(0),
            inner: Mutex::default(),
        }
    }

    /// Returns the request that is processed now, or comes next.
    pub(super) fn current_request(&self) -> RequestNumber {
        RequestNumber(self.answered.load(Ordering::Relaxed))
    }

    pub(super) const fn max_event_len(&self) -> usize {
        self.limits.message_len
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
        let encoded =
            encode(event, &mut bytes, self.max_event_len()).map_err(PushError::unsendable)?;
        Ok(encoded.then(|| bytes.into()))
    }

    /// Queues an event. If the function of `request` still runs, this event and all later ones follow the reply.
    ///
    /// Returns the waker of the task. The caller wakes it without a lock, because wakers are foreign code. For the same
    /// reason, no waker is cloned or dropped under the lock.
    pub(super) fn push(
        &self,
        event: Bytes,
        request: RequestNumber,
    ) -> (Result<(), PushError>, Option<Waker>) {
        let mut inner = self.lock();
        if inner.state != QueueState::Open {
            return (Err(PushError::closed()), None);
        }
        let is_held = request == self.current_request();
        let was_empty = inner.events.is_empty();
        let cost = cost(&event);
        let pushed = self.make_room(&mut inner, cost);
        match (&pushed, self.limits.push_overflow) {
            (Ok(()), _) => {
                inner.cost += cost;
                if is_held || !inner.held.is_empty() {
                    inner.held.push_back(event);
                } else {
                    inner.events.push_back(event);
                }
            }
            (Err(error), PushOverflow::Close) if !error.is_too_long() => {
                inner.state = QueueState::Overflowed;
                inner.clear();
            }
            (Err(_), _) => return (pushed, None),
        }
        // The task looks at all events together.
        let must_wake = was_empty && !inner.events.is_empty() || inner.state != QueueState::Open;
        // The task puts its waker back when it has looked.
        (pushed, inner.waker.take_if(|_| must_wake))
    }

    /// Makes room for an event. Without room for it, nothing is dropped or reserved.
    fn make_room(&self, inner: &mut Inner, cost: usize) -> Result<(), PushError> {
        let mut limit = self.limits.push_queue;
        if cost > limit {
            return Err(PushError(PushErrorKind::TooLong(limit)));
        }
        let drops_oldest = self.limits.push_overflow == PushOverflow::DropOldest;
        let wanted = inner.cost + cost;
        if wanted > limit && !drops_oldest {
            return Err(PushError(PushErrorKind::Full(limit)));
        }
        let wanted = limit.min(wanted);
        if wanted > MemoryBudget::UNRESERVED
            && !self.memory.reserve_queue(wanted, &mut inner.reserved)
        {
            let reserved = inner.reserved.as_ref();
            limit = reserved.map_or(0, Reservation::queue_bytes);
            limit = limit.max(MemoryBudget::UNRESERVED);
            if cost > limit || !drops_oldest {
                return Err(PushError(PushErrorKind::NoMemory));
            }
        }
        inner.drop_oldest(limit - cost);
        Ok(())
    }

    /// Records that a request is answered, so that the events of its function can follow.
    pub(super) fn end_request(&self) {
        let mut inner = self.lock();
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut held = take(&mut inner.held);
        inner.events.append(&mut held);
    }

    /// Takes the oldest events, up to `budget` bytes, but at least one if there is room, and appends them to `events`.
    /// Returns whether there are more, or `None` if the queue was full and the connection must close.
    ///
    /// When the queue is empty, the next event wakes the task of `cx`.
    pub(crate) fn take_events(
        &self,
        budget: usize,
        events: &mut Vec<Bytes>,
        cx: Option<&Context<'_>>,
    ) -> Option<bool> {
        let waker = cx.map(|cx| cx.waker().clone());
        let mut inner = self.lock();
        if inner.state == QueueState::Overflowed {
            return None;
        }
        let mut room = budget;
        while room > 0
            && let Some(event) = inner.events.pop_front()
        {
            room = room.saturating_sub(cost(&event));
            inner.cost -= cost(&event);
            inner.taken += 1;
            events.push(event);
        }
        if inner.events.is_empty() {
            // Frees the memory of a burst.
            inner.events.shrink_to(KEPT_EVENTS);
        }
        let before = waker.and_then(|waker| inner.waker.replace(waker));
        let has_more = !inner.events.is_empty();
        let unneeded = inner.unneeded();
        drop(inner);
        drop((before, unneeded));
        Some(has_more)
    }

    /// Returns how many events were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Returns how many events were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        take(&mut self.lock().dropped)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().state != QueueState::Open
    }

    /// Accepts no further events. Queued events can still be taken.
    pub(crate) fn seal(&self) {
        let mut inner = self.lock();
        if inner.state == QueueState::Open {
            inner.state = QueueState::Closed;
        }
        let waker = inner.waker.take();
        drop(inner);
        drop(waker);
    }

    /// Drops all events, also later ones. Returns how many were dropped since the last call of
    /// [`take_dropped`](Self::take_dropped).
    pub(crate) fn close(&self) -> u64 {
        let mut inner = self.lock();
        inner.state = QueueState::Closed;
        inner.clear();
        let (dropped, waker) = (take(&mut inner.dropped), inner.waker.take());
        let unneeded = inner.unneeded();
        drop(inner);
        // The waker keeps the memory of the task, and a handle may keep the queue for long.
        drop((waker, unneeded));
        dropped
    }
}

impl Inner {
    /// Drops the oldest events until the others cost at most `limit`.
    fn drop_oldest(&mut self, limit: usize) {
        while self.cost > limit
            && let Some(event) = self.events.pop_front().or_else(|| self.held.pop_front())
        {
            self.cost -= cost(&event);
            self.dropped += 1;
        }
    }

    fn clear(&mut self) {
        self.dropped += (self.events.len() + self.held.len()) as u64;
        self.events = VecDeque::new();
        self.held = VecDeque::new();
        self.cost = 0;
    }

    /// Takes the memory that the events no longer need.
    fn unneeded(&mut self) -> Option<Reservation> {
        if self.cost <= MemoryBudget::UNRESERVED {
            return self.reserved.take();
        }
        self.reserved.as_mut()?.split_off(self.cost)
    }
}

/// The error of [`Push::try_send`](super::Push::try_send) and [`PushGroup::send`](super::PushGroup::send).
#[derive(Debug)]
pub struct PushError(PushErrorKind);

#[derive(Debug)]
enum PushErrorKind {
    Closed,
    /// Other events take the limit in bytes.
    Full(usize),
    /// The event alone is beyond the limit in bytes.
    TooLong(usize),
    NoMemory,
    Unsendable(String),
}

impl PushError {
    const fn closed() -> Self {
        Self(PushErrorKind::Closed)
    }

    pub(super) const fn unsendable(text: String) -> Self {
        Self(PushErrorKind::Unsendable(text))
    }

    /// Returns `true` if the connection is closed.
    pub const fn is_closed(&self) -> bool {
        matches!(self.0, PushErrorKind::Closed)
    }

    const fn is_too_long(&self) -> bool {
        matches!(self.0, PushErrorKind::TooLong(_))
    }

    /// Returns `true` if the queue of the connection has no room for the event.
    pub const fn is_full(&self) -> bool {
        matches!(
            self.0,
            PushErrorKind::Full(_) | PushErrorKind::TooLong(_) | PushErrorKind::NoMemory
        )
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PushErrorKind::Closed => f.write_str("the connection is closed"),
            PushErrorKind::Full(limit) => write!(
                f,
                "the peer does not read, and {limit} bytes of events wait for it (`max_push_queue`)"
            ),
            PushErrorKind::TooLong(limit) => write!(
                f,
                "an event does not fit into a queue of {limit} bytes (`max_push_queue`)"
            ),
            PushErrorKind::NoMemory => {
                f.write_str("the memory for long queues of events is in use (`memory_budget`)")
            }
            PushErrorKind::Unsendable(text) => write!(f, "an event cannot be sent: {text}"),
        }
    }
}

impl error::Error for PushError {}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::Wake,
    };

    use super::*;

    fn queue(push_queue: usize, push_overflow: PushOverflow) -> PushQueue {
        let limits = ConversationLimits {
            message_len: 100,
            push_queue,
            push_overflow,
        };
        PushQueue::new(limits, MemoryBudget::new(1 << 20))
    }

    fn push(queue: &PushQueue, event: &'static str) -> bool {
        queue.push(event.into(), RequestNumber::NONE).0.is_ok()
    }

    fn taken(queue: &PushQueue, budget: usize) -> Vec<Bytes> {
        let mut events = Vec::new();
        queue.take_events(budget, &mut events, None);
        events
    }

    #[test]
    fn queue_counts_each_event_until_it_is_taken() {
        let queue = queue(70, PushOverflow::Reject);
        assert!(push(&queue, "abcd") && push(&queue, "ab") && !push(&queue, ""));
        // An event that is longer than the budget is taken, but no second one.
        assert_eq!(taken(&queue, 36), ["abcd"]);
        assert!(push(&queue, "abcd") && !push(&queue, ""));
        assert_eq!(taken(&queue, 37), ["ab", "abcd"]);
        assert!(taken(&queue, 100).is_empty());
        assert_eq!((queue.taken(), queue.take_dropped()), (3, 0));
    }

    #[test]
    fn oldest_events_are_dropped_for_one_that_fits() {
        let queue = queue(70, PushOverflow::DropOldest);
        assert!(push(&queue, "a") && push(&queue, "b") && push(&queue, "123456"));
        // Nothing makes room for this one.
        assert!(!push(&queue, "this is longer than the queue can ever hold"));
        assert_eq!(taken(&queue, 100), ["b", "123456"][1..]);
        assert_eq!((queue.take_dropped(), queue.take_dropped()), (2, 0));
    }

    #[test]
    fn full_queue_that_closes_drops_all() {
        let queue = queue(40, PushOverflow::Close);
        assert!(push(&queue, "a") && !queue.is_closed());
        assert!(!push(&queue, "b") && queue.is_closed());
        assert_eq!(queue.take_events(100, &mut Vec::new(), None), None);
        assert_eq!(queue.close(), 1);
    }

    #[test]
    fn event_that_never_fits_drops_nothing_and_closes_nothing() {
        for policy in [
            PushOverflow::Reject,
            PushOverflow::Close,
            PushOverflow::DropOldest,
        ] {
            let queue = queue(40, policy);
            assert!(push(&queue, "a") && !push(&queue, "longer than 8"));
            assert!(!queue.is_closed(), "{policy:?}");
            assert_eq!(taken(&queue, 100), ["a"]);
        }
    }

    #[test]
    fn queue_without_memory_is_full_by_its_policy() {
        let event = || Bytes::from(vec![0; 100 << 10]);
        let push = |queue: &PushQueue| queue.push(event(), RequestNumber::NONE).0;
        for policy in [
            PushOverflow::Reject,
            PushOverflow::Close,
            PushOverflow::DropOldest,
        ] {
            let queue = queue(usize::MAX, policy);
            let (memory, error) = (&queue.memory, "is in use (`memory_budget`)");
            let other = memory.try_reserve(820 << 10).expect("it is free");
            assert!(push(&queue).is_ok() && push(&queue).is_ok());
            let full = push(&queue);
            match full {
                Err(full) => assert!(full.is_full() && full.to_string().ends_with(error)),
                Ok(()) => assert_eq!(policy, PushOverflow::DropOldest),
            }
            assert_eq!(queue.is_closed(), policy == PushOverflow::Close);
            drop(other);
            if policy != PushOverflow::Close {
                // Two are left in either case.
                assert!(push(&queue).is_ok());
                assert!(memory.try_reserve(725 << 10).is_none());
                assert_eq!(taken(&queue, 1).len(), 1);
                assert!(memory.try_reserve(820 << 10).is_some());
                assert!(memory.try_reserve(825 << 10).is_none());
            }
            let _: u64 = queue.close();
            assert!(memory.try_reserve(1 << 20).is_some());
        }
    }

    #[test]
    fn rejected_event_reserves_no_memory() {
        for policy in [PushOverflow::Reject, PushOverflow::DropOldest] {
            let queue = queue(300 << 10, policy);
            let too_long = vec![0; 400 << 10].into();
            let (pushed, _) = queue.push(too_long, RequestNumber::NONE);
            let error = pushed.expect_err("it is too long");
            assert!(error.is_full() && error.to_string().contains("does not fit"));
            assert!(queue.memory.try_reserve(1 << 20).is_some());
        }
        let queue = queue(300 << 10, PushOverflow::Reject);
        let push = || queue.push(vec![0; 200 << 10].into(), RequestNumber::NONE).0;
        assert!(push().is_ok());
        let error = push().expect_err("it is full");
        assert!(error.is_full() && error.to_string().contains("does not read"));
        assert!(queue.memory.try_reserve(820 << 10).is_some());
    }

    #[test]
    fn events_of_a_function_and_those_after_them_follow_its_reply() {
        let queue = queue(1_000, PushOverflow::Reject);
        let request = queue.current_request();
        assert!(push(&queue, "before"));
        assert!(queue.push("held".into(), request).0.is_ok());
        assert!(push(&queue, "behind"));
        assert_eq!(taken(&queue, 1_000), ["before"]);
        queue.end_request();
        // This handle is of a function that has ended.
        assert!(queue.push("late".into(), request).0.is_ok());
        assert_eq!(taken(&queue, 1_000), ["held", "behind", "late"]);
    }

    #[test]
    fn sealed_queue_keeps_what_it_has() {
        let queue = queue(1_000, PushOverflow::Reject);
        assert!(push(&queue, "a"));
        queue.seal();
        assert!(!push(&queue, "b"));
        assert_eq!(taken(&queue, 1_000), ["a"]);
    }

    #[test]
    fn task_is_woken_by_the_first_event_after_none() {
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let queue = queue(1_000, PushOverflow::Reject);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let mut events = Vec::new();
        assert_eq!(queue.take_events(100, &mut events, Some(&cx)), Some(false));
        for expected in [1, 1] {
            let (_, waker) = queue.push("a".into(), RequestNumber::NONE);
            waker.into_iter().for_each(Waker::wake);
            assert_eq!(count.0.load(Relaxed), expected);
        }
        let has_more = queue.take_events(1, &mut events, Some(&cx));
        assert_eq!(has_more, Some(true), "one is left");
    }

    #[test]
    fn wakers_are_dropped_without_the_lock_and_when_the_queue_is_closed() {
        struct Task(Arc<PushQueue>, Arc<AtomicUsize>);
        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Task {
            fn drop(&mut self) {
                assert!(self.0.inner.try_lock().is_ok(), "the lock is held");
                self.1.fetch_add(1, Relaxed);
            }
        }
        let dropped = Arc::<AtomicUsize>::default();
        let look = |queue: &Arc<PushQueue>| {
            let task = Task(Arc::clone(queue), Arc::clone(&dropped));
            let waker = Waker::from(Arc::new(task));
            let cx = Context::from_waker(&waker);
            queue.take_events(100, &mut Vec::new(), Some(&cx))
        };
        let close: [fn(&PushQueue); 3] = [
            PushQueue::seal,
            |queue| {
                let _: u64 = queue.close();
            },
            |queue| {
                while queue
                    .push(vec![0; 50].into(), RequestNumber::NONE)
                    .0
                    .is_ok()
                {}
            },
        ];
        for close in close {
            let queue = Arc::new(queue(100, PushOverflow::Close));
            assert_eq!(look(&queue), Some(false));
            assert_eq!(look(&queue), Some(false));
            assert_eq!(dropped.swap(0, Relaxed), 1, "it is replaced");
            close(&queue);
            assert_eq!(dropped.swap(0, Relaxed), 1, "a handle may keep the queue");
        }
    }
}
