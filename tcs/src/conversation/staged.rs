//! The items of a streamed reply that wait to be framed.

use std::{
    mem::take,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Unsent, encode};
use crate::format::Encode;

/// From this many bytes on, a function waits until its items are taken.
const FULL: usize = 64 * 1024;

/// The items of a streamed reply, encoded and not framed.
#[derive(Debug, Default)]
pub(crate) struct StagedItems {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: Items,
    /// Those who wait for room. A function may send from several futures, with wakers of their own.
    waiting: Vec<Waker>,
}

/// Encoded items, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Items {
    bytes: Vec<u8>,
    /// Where each item ends.
    ends: Vec<usize>,
    /// How many of them were framed, and where the next one begins.
    framed: usize,
    start: usize,
}

impl Items {
    /// Returns `true` if all items were framed.
    pub(crate) fn is_empty(&self) -> bool {
        self.framed == self.ends.len()
    }

    /// Returns how many items to frame until they have cost `limit` bytes, and what they cost: their lengths, and 8 for
    /// each.
    pub(crate) fn batch(&self, limit: usize) -> (usize, usize) {
        let (mut count, mut cost) = (0, 0);
        for item in self.iter() {
            if cost >= limit {
                break;
            }
            count += 1;
            cost += item.len() + 8;
        }
        (count, cost)
    }

    /// Notes that items were framed.
    pub(crate) fn advance(&mut self, count: usize) {
        self.framed += count;
        if let Some(last) = self.framed.checked_sub(1) {
            self.start = self.ends.get(last).copied().unwrap_or_default();
        }
    }

    /// Returns the items that were not framed.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let mut start = self.start;
        let ends = self.ends.get(self.framed..).unwrap_or_default();
        ends.iter().map(move |end| {
            let item = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            item
        })
    }
}

impl StagedItems {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an item. Returns `true` if its sender must wait before the next one.
    pub(super) fn stage<Format>(
        &self,
        item: impl Encode<Format>,
        limit: usize,
    ) -> Result<bool, Unsent> {
        let mut inner = self.lock();
        let Items { bytes, ends, .. } = &mut inner.items;
        if encode(item, bytes, limit)? {
            ends.push(bytes.len());
        }
        Ok(bytes.len() >= FULL)
    }

    /// Waits until there is room for another item.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.items.bytes.len() < FULL {
            return Poll::Ready(());
        }
        if !inner
            .waiting
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            inner.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns `true` if no item waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Takes all items, and wakes those who wait for room.
    pub(crate) fn take(&self) -> Items {
        let mut inner = self.lock();
        let (items, waiting) = (take(&mut inner.items), take(&mut inner.waiting));
        drop(inner);
        // Without the lock, because wakers are foreign code.
        waiting.into_iter().for_each(Waker::wake);
        items
    }

    /// Takes the memory of items that were framed, for the next ones, unless it is large.
    pub(crate) fn recycle(&self, mut items: Items) {
        if items.bytes.capacity() > 2 * FULL {
            // An idle connection does not keep the memory of a large item.
            return;
        }
        items.bytes.clear();
        items.ends.clear();
        (items.framed, items.start) = (0, 0);
        let mut inner = self.lock();
        if inner.items.is_empty() {
            inner.items = items;
        }
    }
}
