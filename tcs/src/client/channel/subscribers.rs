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
    panics::lock,
    sync::Mutex,
};

/// The receivers of the events of a connection of a channel, and of its successors.
///
/// A subscriber whose connection was lost since it was added, or got its last note of a connection, is marked with `true`,
/// and then gets a note of the next one.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<(Weak<Mutex<Subscriber>>, bool)>);

impl Subscribers {
    /// Returns `true` if nobody receives events.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|(it, _)| it.strong_count() == 0)
    }

    /// Adds a subscriber, and removes those that were dropped.
    pub(super) fn add(&mut self, subscriber: &Arc<Mutex<Subscriber>>) {
        self.0.retain(|(it, _)| it.strong_count() > 0);
        self.0.push((Arc::downgrade(subscriber), false));
    }

    /// Adds an event for each subscriber.
    #[cold]
    pub(super) fn publish(&self, event: &[u8], peer: &Peer, wakers: &mut Vec<Waker>) {
        let mut shared = None;
        for subscriber in self.0.iter().filter_map(|(it, _)| it.upgrade()) {
            let shared = shared.get_or_insert_with(|| (Arc::from(event), Arc::new(peer.clone())));
            let (event, peer) = shared.clone();
            wakers.extend(lock(&subscriber).add(Entry::Event(event, Some(peer))));
        }
    }

    /// Adds a note that there is another connection, of this generation, for each subscriber of an earlier one.
    pub(super) fn record_connected(&mut self, generation: u64, wakers: &mut Vec<Waker>) {
        for (subscriber, has_gap) in &mut self.0 {
            if let Some(subscriber) = subscriber.upgrade().filter(|_| take(has_gap)) {
                wakers.extend(lock(&subscriber).add(Entry::Connected(generation)));
            }
        }
    }

    /// Records that the connection is lost. With a fault, no other connection follows.
    pub(super) fn record_lost(&mut self, fault: Option<&Arc<Fault>>, wakers: &mut Vec<Waker>) {
        for (_, has_gap) in &mut self.0 {
            *has_gap = true;
        }
        if fault.is_some() {
            for subscriber in self.0.iter().filter_map(|(it, _)| it.upgrade()) {
                lock(&subscriber).fault = fault.cloned();
            }
            wakers.extend(self.wakers());
        }
    }

    /// Takes the wakers of the subscribers that wait.
    pub(super) fn wakers(&self) -> impl Iterator<Item = Waker> {
        let subscribers = self.0.iter().filter_map(|(it, _)| it.upgrade());
        subscribers.filter_map(|it| lock(&it).waker.take())
    }
}

/// The events that one [`Events`](super::Events) has not received yet.
#[derive(Debug)]
pub(super) struct Subscriber {
    /// The most bytes of events that are kept.
    limit: usize,
    events: EventQueue,
    /// Why there are no more connections.
    pub(super) fault: Option<Arc<Fault>>,
    /// Wakes the task that waits.
    pub(super) waker: Option<Waker>,
}

impl Subscriber {
    /// Creates a queue for this many bytes of events.
    pub(super) fn new(limit: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            limit,
            events: EventQueue::default(),
            fault: None,
            waker: None,
        }))
    }

    /// Adds an entry. An event for which there is no room is counted as missed. Returns the task to wake, which the caller
    /// does without a lock.
    fn add(&mut self, entry: Entry) -> Option<Waker> {
        match entry {
            Entry::Event(event, peer) => {
                if !self.events.push(event, peer, self.limit) {
                    self.events.push_note(Entry::Missed(1));
                }
            }
            note => self.events.push_note(note),
        }
        self.waker.take()
    }

    #[cfg(feature = "stream")]
    pub(super) fn is_closed(&self) -> bool {
        self.fault.is_some() && self.events.is_empty()
    }

    pub(super) fn poll_next(
        subscriber: &Mutex<Self>,
        cx: &Context<'_>,
    ) -> Poll<Result<Entry, Arc<Fault>>> {
        // Cloned and dropped without the lock, because wakers are the user's code.
        let waker = cx.waker().clone();
        let mut state = lock(subscriber);
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
            subchannel.add_subscriber(&Subscriber::new(1));
        }
        assert_eq!(subchannel.lock().subscribers.0.len(), 1);
    }
}
