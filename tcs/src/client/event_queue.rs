//! Events that wait to be received.

use std::{collections::VecDeque, sync::Arc};

use crate::Peer;

/// Each event counts this many bytes more, so that empty events are limited, too.
pub(super) const EVENT_OVERHEAD: usize = 32;

/// Events that have arrived, and were not received, and notes about them, oldest first.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    entries: VecDeque<Entry>,
    /// The bytes of all events, each with [`EVENT_OVERHEAD`].
    bytes: usize,
}

/// An entry of a queue of events. The queue of a single connection has no notes.
#[derive(Debug)]
pub(super) enum Entry {
    /// An event. The queues of channels, whose connections have several peers, also keep the peer that has sent it.
    Event(Arc<[u8]>, Option<Arc<Peer>>),
    /// There is another connection, of this generation.
    Connected(u64),
    /// This many events were dropped.
    Missed(u64),
}

impl EventQueue {
    /// Adds an event. Returns `false` if there is no room.
    pub(super) fn push(&mut self, event: Arc<[u8]>, peer: Option<Arc<Peer>>, limit: usize) -> bool {
        let bytes = self.bytes + event.len() + EVENT_OVERHEAD;
        if bytes > limit {
            return false;
        }
        self.bytes = bytes;
        self.entries.push_back(Entry::Event(event, peer));
        true
    }

    /// Adds a note, or merges it with a note of the same kind after the same event. So the number of notes is limited
    /// by the events, whose bytes are limited.
    pub(super) fn push_note(&mut self, note: Entry) {
        for entry in self.entries.iter_mut().rev() {
            match (entry, &note) {
                (Entry::Event(..), _) => break,
                (Entry::Missed(number), Entry::Missed(more)) => return *number += more,
                (Entry::Connected(last), Entry::Connected(number)) => return *last = *number,
                _ => {}
            }
        }
        self.entries.push_back(note);
    }

    /// Removes the oldest entry.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if let Entry::Event(event, _) = &entry {
            self.bytes -= event.len() + EVENT_OVERHEAD;
        }
        Some(entry)
    }

    /// Removes the oldest event, of a queue without notes.
    pub(super) fn pop_event(&mut self) -> Option<Arc<[u8]>> {
        match self.pop() {
            Some(Entry::Event(event, _)) => Some(event),
            _ => None,
        }
    }

    #[cfg(feature = "stream")]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_of_an_event_is_free_once_it_is_received() {
        let mut queue = EventQueue::default();
        let (event, limit) = (Arc::<[u8]>::from(*b"four"), 4 + EVENT_OVERHEAD);
        for _ in 0..3 {
            assert!(queue.push(Arc::clone(&event), None, limit));
            assert!(!queue.push(Arc::default(), None, limit));
            assert!(queue.pop_event().is_some());
        }
    }

    #[test]
    fn notes_of_a_subscriber_that_does_not_read_are_few() {
        let mut queue = EventQueue::default();
        for number in 0..1_000 {
            if !queue.push(Arc::default(), None, 2 * EVENT_OVERHEAD) {
                queue.push_note(Entry::Missed(1));
            }
            queue.push_note(Entry::Connected(number));
        }
        let notes = queue.entries.iter().skip(2);
        let notes: Vec<_> = notes.map(|entry| format!("{entry:?}")).collect();
        assert_eq!(queue.entries.len(), 5, "{notes:?}");
        assert_eq!(notes[1..], ["Connected(999)", "Missed(998)"]);
    }
}
