//! The credit of a streamed reply, where requests are processed in sequence.

use super::staged_items::FULL;
use crate::{
    framing::Notice,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

/// How many bytes of items may be sent, with a framing that has ids.
///
/// All items that a function has staged are sent, even after the function has returned. So the function is polled only
/// while its credit covers all items that it can stage. Only the task of the connection uses this.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicI64,
    /// The credit after the last items. Later notices do not change this value.
    after_items: AtomicI64,
}

impl Default for Credit {
    fn default() -> Self {
        let initial = i64::from(Notice::INITIAL_CREDIT);
        Self {
            left: AtomicI64::new(initial),
            after_items: AtomicI64::new(initial),
        }
    }
}

impl Credit {
    /// Returns `true` if the function must wait for a notice of the client.
    pub(crate) fn is_short(&self) -> bool {
        usize::try_from(self.left.load(Relaxed)).unwrap_or_default() < FULL
    }

    /// Subtracts the cost of items that are sent.
    pub(crate) fn spend(&self, cost: usize) {
        let left = self.left.load(Relaxed);
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        let left = left.saturating_sub(cost);
        self.left.store(left, Relaxed);
        self.after_items.store(left, Relaxed);
    }

    /// Returns the credit after the last items. This value is negative after an item that was longer than the credit.
    pub(crate) fn after_items(&self) -> i64 {
        self.after_items.load(Relaxed)
    }

    /// Adds the credit of a notice.
    pub(crate) fn add(&self, bytes: u32) {
        let left = self.left.load(Relaxed);
        self.left.store(left.saturating_add(bytes.into()), Relaxed);
    }

    /// Begins the next request.
    pub(super) fn restart(&self) {
        self.left.store(Notice::INITIAL_CREDIT.into(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_waits_while_its_credit_is_less_than_it_can_stage() {
        let credit = Credit::default();
        let initial = usize::try_from(Notice::INITIAL_CREDIT).expect("64 bits");
        credit.spend(initial - FULL);
        assert!(!credit.is_short());
        credit.spend(1);
        assert!(credit.is_short());
        credit.add(1);
        assert!(!credit.is_short());
    }

    #[test]
    fn next_request_begins_with_new_credit() {
        let credit = Credit::default();
        // A long item costs more than there is.
        credit.spend(usize::MAX);
        credit.add(u32::MAX);
        assert!(credit.is_short());
        credit.restart();
        assert!(!credit.is_short());
    }
}
