//! The receivers of the events of a connection, and the events that they have not received yet.

use std::{
    mem::take,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use crate::{
    Peer,
    client::{
        event_queue::{Entry, EventQueue},
        fault::Fault,
    },
    panics::{lock, wake_all},
    sync::{Mutex, MutexGuard},
};

/// The receivers of the events of a connection of a channel, and of its successors.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    registered: Mutex<Vec<WeakSubscriber>>,
}

/// A subscriber of one connection, unless it was dropped.
#[derive(Debug)]
struct WeakSubscriber {
    subscriber: Weak<Subscriber>,
    /// Whether the connection was lost since the subscriber was added, or got its last note of a connection. The
    /// subscriber then gets a note of the next one.
    has_gap: bool,
}

impl Subscribers {
    /// Returns `true` if nobody receives events.
    pub(super) fn is_empty(&self) -> bool {
        self.registered().is_empty()
    }

    /// Returns the subscribers that were not dropped.
    fn registered(&self) -> MutexGuard<'_, Vec<WeakSubscriber>> {
        let mut registered = lock(&self.registered);
        registered.retain(|weak| weak.subscriber.strong_count() > 0);
        registered
    }

    /// Adds a subscriber.
    pub(super) fn add(&self, subscriber: &Arc<Subscriber>) {
        self.registered().push(WeakSubscriber {
            subscriber: Arc::downgrade(subscriber),
            has_gap: false,
        });
    }

    /// Adds an event for each subscriber.
    #[cold]
    pub(super) fn publish(&self, event: &[u8], peer: &Peer, wakers: &mut Vec<Waker>) {
        let mut shared = None;
        for subscriber in self.subscribers(|_| true) {
            let shared = shared.get_or_insert_with(|| (Arc::from(event), Arc::new(peer.clone())));
            let (event, peer) = shared.clone();
            wakers.extend(subscriber.add(Entry::Event(event, Some(peer))));
        }
    }

    /// Adds a note that there is another connection, of this generation, for each subscriber of an earlier one.
    pub(super) fn note_connected(&self, generation: u64, wakers: &mut Vec<Waker>) {
        for subscriber in self.subscribers(|weak| take(&mut weak.has_gap)) {
            wakers.extend(subscriber.add(Entry::Connected(generation)));
        }
    }

    /// Records that the connection is lost. With a fault, no other connection follows.
    pub(super) fn note_lost(&self, fault: Option<&Arc<Fault>>, wakers: &mut Vec<Waker>) {
        let subscribers = self.subscribers(|weak| {
            weak.has_gap = true;
            fault.is_some()
        });
        for subscriber in subscribers {
            wakers.extend(subscriber.close(fault.cloned()));
        }
    }

    /// Wakes the subscribers that wait: they connect in their own runtime, because the runtime of the connection has
    /// ended.
    pub(super) fn wake(&self) {
        let subscribers = self.subscribers(|_| true);
        wake_all(subscribers.iter().filter_map(|it| it.take_waker()));
    }

    /// Returns the subscribers for which `is_meant` returns `true`.
    fn subscribers(
        &self,
        mut is_meant: impl FnMut(&mut WeakSubscriber) -> bool,
    ) -> Vec<Arc<Subscriber>> {
        let mut registered = lock(&self.registered);
        let meant = registered.iter_mut().filter_map(|weak| {
            let is_meant = is_meant(weak);
            is_meant.then(|| weak.subscriber.upgrade()).flatten()
        });
        meant.collect()
    }
}

/// The events that one [`Events`](super::Events) has not received yet.
#[derive(Debug)]
pub(super) struct Subscriber {
    limit: usize,
    state: Mutex<SubscriberState>,
}

#[derive(Debug, Default)]
struct SubscriberState {
    events: EventQueue,
    /// Why there are no more connections.
    fault: Option<Arc<Fault>>,
    waker: Option<Waker>,
}

impl Subscriber {
    /// Creates a queue for this many bytes of events.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Adds an entry. An event for which there is no room is counted as missed. Returns the task to wake, which the caller
    /// does without a lock.
    fn add(&self, entry: Entry) -> Option<Waker> {
        let mut state = lock(&self.state);
        match entry {
            Entry::Event(event, peer) => {
                if !state.events.push(event, peer, self.limit) {
                    state.events.push_note(Entry::Missed(1));
                }
            }
            note => state.events.push_note(note),
        }
        state.waker.take()
    }

    /// Records that there are no more connections. Returns the task to wake.
    pub(super) fn close(&self, fault: Option<Arc<Fault>>) -> Option<Waker> {
        let mut state = lock(&self.state);
        state.fault = fault;
        state.waker.take()
    }

    /// Takes the waker of the task that waits.
    pub(super) fn take_waker(&self) -> Option<Waker> {
        lock(&self.state).waker.take()
    }

    #[cfg(feature = "stream")]
    pub(super) fn is_closed(&self) -> bool {
        let state = lock(&self.state);
        state.fault.is_some() && state.events.is_empty()
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Result<Entry, Arc<Fault>>> {
        // Cloned and dropped without the lock, because wakers are the user's code.
        let waker = cx.waker().clone();
        let mut state = lock(&self.state);
        if let Some(entry) = state.events.pop() {
            return Poll::Ready(Ok(entry));
        }
        if let Some(fault) = &state.fault {
            return Poll::Ready(Err(Arc::clone(fault)));
        }
        let former = state.waker.replace(waker);
        drop(state);
        drop(former);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, client::ConnectOptions};

    #[test]
    fn subscriber_that_was_dropped_leaves_nothing_when_the_next_one_comes() {
        let channel: Channel = Channel::of_connections(1, ConnectOptions::new(), false);
        let subchannel = channel.pool.subchannels.first().expect("it has one");
        for _ in 0..10 {
            subchannel.add_subscriber(&Arc::new(Subscriber::new(1)));
        }
        assert_eq!(lock(&subchannel.subscribers.registered).len(), 1);
    }
}
