//! The credit of a streamed reply, where requests are processed in sequence.

use super::staged_items::FULL;
use crate::{
    framing::RequestNotice,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

/// How many bytes of items may be sent, with a framing that has ids.
///
/// Whatever a function has staged is sent, also after it has returned. So it is polled only while its credit covers all
/// that it can stage. Only the task of the connection uses this.
#[derive(Debug)]
pub(crate) struct Credit(AtomicI64);

impl Default for Credit {
    fn default() -> Self {
        Self(AtomicI64::new(RequestNotice::INITIAL_CREDIT.into()))
    }
}

impl Credit {
    /// Returns `true` if the function must wait for a notice of the client.
    pub(crate) fn is_short(&self) -> bool {
        usize::try_from(self.0.load(Relaxed)).unwrap_or_default() < FULL
    }

    /// Subtracts the cost of items that are sent.
    pub(crate) fn spend(&self, cost: usize) {
        let left = self.0.load(Relaxed);
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        self.0.store(left.saturating_sub(cost), Relaxed);
    }

    /// Adds what a notice of the client gives.
    pub(crate) fn add(&self, bytes: u32) {
        let left = self.0.load(Relaxed);
        self.0.store(left.saturating_add(bytes.into()), Relaxed);
    }

    /// Begins the next request.
    pub(super) fn restart(&self) {
        self.0.store(RequestNotice::INITIAL_CREDIT.into(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_waits_while_its_credit_is_less_than_it_can_stage() {
        let credit = Credit::default();
        let initial = usize::try_from(RequestNotice::INITIAL_CREDIT).expect("64 bits");
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
