//! The items of a streamed reply that wait to be framed.

use std::mem::take;

use tokio::sync::Notify;

use crate::{
    buffer::Messages,
    panics::lock,
    runtime::wait_until,
    sync::{Mutex, MutexGuard},
};

/// From this many bytes on, a function waits until its items are taken before it adds another.
pub(super) const FULL: usize = 64 * 1024;

/// The items of a streamed reply, encoded and not framed.
#[derive(Debug, Default)]
pub(crate) struct StagedItems {
    items: Mutex<Messages>,
    /// Notified when the items are taken.
    taken: Notify,
}

impl StagedItems {
    fn lock(&self) -> MutexGuard<'_, Messages> {
        lock(&self.items)
    }

    /// Appends an encoded item. Returns `false` if there is no room for it yet.
    pub(super) fn try_stage(&self, item: &[u8]) -> bool {
        let mut items = self.lock();
        let has_room = items.cost() < FULL;
        if has_room {
            items.push(item);
        }
        has_room
    }

    /// Waits until there is room for an item.
    pub(super) async fn room(&self) {
        wait_until(&self.taken, || self.lock().cost() < FULL).await;
    }

    /// Returns `true` if no item waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes all items, so that there is room for others.
    pub(crate) fn take(&self) -> Messages {
        let items = take(&mut *self.lock());
        if !items.is_empty() {
            self.taken.notify_waiters();
        }
        items
    }

    /// Keeps the memory of framed items for the next items, unless it is large.
    pub(crate) fn recycle(&self, mut items: Messages) {
        if items.capacity() > 2 * FULL {
            // An idle connection does not keep the memory of a large item.
            return;
        }
        items.clear();
        let mut staged = self.lock();
        if staged.is_empty() {
            *staged = items;
        }
    }
}
