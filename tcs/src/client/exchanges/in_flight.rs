//! The requests of a connection that have no reply yet.

use std::collections::VecDeque;

/// The requests in flight, oldest first, each by its offset. The oldest may be abandoned: nobody waits for their replies.
///
/// The count of abandoned requests is enough, because replies come in the order of the requests. With ids, at most one
/// request is in flight, and an abandoned request is cancelled and removed.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    offsets: VecDeque<u64>,
    abandoned: usize,
}

impl InFlight {
    /// Returns the number of requests, abandoned or not.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Returns the number of abandoned requests.
    pub(super) const fn abandoned(&self) -> usize {
        self.abandoned
    }

    /// Returns the number of requests that were not abandoned.
    pub(super) fn awaited(&self) -> usize {
        self.offsets.len() - self.abandoned
    }

    /// Returns the offset of the oldest request, abandoned or not.
    #[inline]
    pub(super) fn oldest(&self) -> Option<u64> {
        self.offsets.front().copied()
    }

    /// Returns the offset of the newest request.
    pub(super) fn newest(&self) -> Option<u64> {
        self.offsets.back().copied()
    }

    /// Adds a request.
    #[inline]
    pub(super) fn push_back(&mut self, offset: u64) {
        self.offsets.push_back(offset);
    }

    /// Removes the newest request, which was not abandoned.
    pub(super) fn pop_back(&mut self) {
        self.offsets.pop_back();
    }

    /// Removes the oldest request, if none was abandoned.
    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<u64> {
        self.offsets.pop_front()
    }

    /// Removes the oldest request, whose reply has arrived. Returns `true` if it was not abandoned.
    #[inline]
    pub(super) fn answer_oldest(&mut self) -> bool {
        self.offsets.pop_front();
        if self.abandoned == 0 {
            return true;
        }
        self.abandoned -= 1;
        false
    }

    /// Abandons the oldest request, which was not abandoned before.
    pub(super) fn abandon_oldest(&mut self) {
        self.abandoned = 1;
    }

    pub(super) fn abandon_all(&mut self) {
        self.abandoned = self.offsets.len();
    }

    /// Removes the abandoned requests, and the oldest of the others. Returns the offset of the latter.
    pub(super) fn pop_failed(&mut self) -> Option<u64> {
        self.offsets.drain(..std::mem::take(&mut self.abandoned));
        self.offsets.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.offsets.clear();
        self.abandoned = 0;
    }
}
