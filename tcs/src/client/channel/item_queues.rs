//! The items of streamed replies that wait to be taken.

use std::{collections::BTreeMap, mem::swap};

use crate::{buffer::Messages, framing::Notice};

/// The items of streamed replies that were not taken, by the indices of their calls.
#[derive(Debug, Default)]
pub(super) struct ItemQueues(BTreeMap<u32, Messages>);

impl ItemQueues {
    /// Adds a queue for the items of the reply to a call.
    #[cold]
    pub(super) fn open(&mut self, index: u32) {
        self.0.insert(index, Messages::default());
    }

    /// Removes the queue of a call, if it has one.
    pub(super) fn close(&mut self, index: u32) {
        self.0.remove(&index);
    }

    /// Returns `true` if a call has a queue: its reply is a stream of items.
    pub(super) fn is_open(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }

    /// Returns the indices of the calls that have a queue.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// Returns `true` if an item for a call waits to be taken.
    pub(super) fn has_items(&self, index: u32) -> bool {
        self.0.get(&index).is_some_and(|items| !items.is_empty())
    }

    /// Adds an item for a call that has a queue. Returns `false` if there are more items than the client has given credit
    /// for.
    #[cold]
    pub(super) fn push(&mut self, index: u32, item: &[u8]) -> bool {
        let Some(items) = self.0.get_mut(&index) else {
            return true;
        };
        let has_credit = items.cost() < Notice::INITIAL_CREDIT as usize;
        if has_credit {
            items.push(item);
        }
        has_credit
    }

    /// Exchanges the items that have come for those that were received. Returns `false` if none have come.
    pub(super) fn take(&mut self, index: u32, received: &mut Messages) -> bool {
        match self.0.get_mut(&index) {
            Some(items) if !items.is_empty() => {
                received.clear();
                swap(items, received);
                true
            }
            _ => false,
        }
    }
}
