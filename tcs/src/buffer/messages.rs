//! Messages without frames.

use std::ops::Range;

/// Messages without frames, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// The number of messages that were taken.
    taken: usize,
}

impl Messages {
    /// The cost of a message beside its length, so that a limit also limits empty ones. `WIRE.md` specifies it for
    /// credit.
    pub(crate) const OVERHEAD: usize = 8;

    pub(crate) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Returns the number of bytes, including those of messages that were taken.
    pub(crate) const fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the cost of all messages, including those that were taken: their lengths, and 8 for each.
    pub(crate) const fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len() * Self::OVERHEAD
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns `true` if all messages were taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.taken == self.ends.len()
    }

    /// Takes the next message.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let place = self.next_place()?;
        self.bytes.get(place)
    }

    /// Takes the next message. Returns its place, for [`at`](Self::at).
    pub(crate) fn next_place(&mut self) -> Option<Range<usize>> {
        let (start, end) = (self.start(), *self.ends.get(self.taken)?);
        self.taken += 1;
        Some(start..end)
    }

    /// Returns the message at a place.
    pub(crate) fn at(&self, place: Range<usize>) -> &[u8] {
        self.bytes.get(place).unwrap_or_default()
    }

    /// Returns the number of messages to take next for a cost of at least `limit`, or of all that are left, and their
    /// cost.
    pub(crate) fn batch(&self, limit: usize) -> (usize, usize) {
        let (mut count, mut cost) = (0, 0);
        for message in self.iter() {
            if cost >= limit {
                break;
            }
            count += 1;
            cost += message.len() + Self::OVERHEAD;
        }
        (count, cost)
    }

    /// Records that `count` messages were taken.
    pub(crate) const fn advance(&mut self, count: usize) {
        self.taken += count;
    }

    /// Returns where the next message begins.
    fn start(&self) -> usize {
        let before = self.ends.get(..self.taken).and_then(<[usize]>::last);
        before.copied().unwrap_or_default()
    }

    /// Returns the messages that were not taken.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let mut start = self.start();
        let ends = self.ends.get(self.taken..).unwrap_or_default();
        ends.iter().map(move |end| {
            let message = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            message
        })
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(texts: &[&str]) -> Messages {
        let mut messages = Messages::default();
        for text in texts {
            messages.push(text.as_bytes());
        }
        messages
    }

    fn rest(messages: &Messages) -> Vec<&[u8]> {
        messages.iter().collect()
    }

    #[test]
    fn messages_are_taken_in_turn() {
        let mut messages = messages(&["ab", "", "c"]);
        assert_eq!(messages.next(), Some(&b"ab"[..]));
        assert_eq!(rest(&messages), [&b""[..], b"c"]);
        messages.advance(1);
        assert!(!messages.is_empty());
        assert_eq!(messages.next(), Some(&b"c"[..]));
        assert!(messages.is_empty());
        assert!(messages.next().is_none());
        assert_eq!(messages.byte_len(), 3);
        messages.clear();
        messages.push(b"d");
        assert_eq!(rest(&messages), [b"d"]);
    }

    #[test]
    fn batch_ends_with_the_message_that_reaches_the_limit() {
        let mut messages = messages(&["taken", "12345678", "", "x"]);
        messages.advance(1);
        let batches = [0, 1, 16, 17, 24, 25, 100].map(|limit| messages.batch(limit));
        let expected = [(0, 0), (1, 16), (1, 16), (2, 24), (2, 24), (3, 33), (3, 33)];
        assert_eq!(batches, expected);
        // With the one that was taken.
        assert_eq!(messages.cost(), 33 + 5 + 8);
    }
}
