//! Messages without frames, one after the other.

/// Messages without frames, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// How many of them were taken.
    taken: usize,
}

impl Messages {
    pub(crate) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Returns the number of bytes, also of messages that were taken.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns [`len`](Self::len) and one for each message, so that a limit also limits empty ones.
    pub(super) const fn cost(&self) -> usize {
        self.bytes.len() + self.ends.len()
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns `true` if all messages were taken.
    pub(crate) const fn is_empty(&self) -> bool {
        self.taken == self.ends.len()
    }

    /// Takes the next message.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let (start, end) = (self.start(), *self.ends.get(self.taken)?);
        self.taken += 1;
        self.bytes.get(start..end)
    }

    /// Returns how many of the messages that were not taken have cost `limit` bytes, and what they cost: their lengths, and
    /// 8 for each.
    pub(crate) fn batch(&self, limit: usize) -> (usize, usize) {
        let (mut count, mut cost) = (0, 0);
        for message in self.iter() {
            if cost >= limit {
                break;
            }
            count += 1;
            cost += message.len() + 8;
        }
        (count, cost)
    }

    /// Notes that `count` messages were taken.
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

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
    }
}
