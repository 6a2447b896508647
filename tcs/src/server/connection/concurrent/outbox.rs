//! Whose turn it is to be answered.

use std::collections::VecDeque;

use super::{
    execute::Outcome,
    slots::{SlotIndex, Slots},
};

/// The slots whose replies or items are to be sent.
pub(super) struct Outbox {
    pub(super) is_ordered: bool,
    /// The slots to answer: in order, those of all requests; otherwise those that have an outcome.
    pub(super) answers: VecDeque<SlotIndex>,
    /// Without an order, the slots that may have items to send, in turn.
    streams: VecDeque<SlotIndex>,
}

impl Outbox {
    pub(super) fn new(is_ordered: bool) -> Self {
        Self {
            is_ordered,
            answers: VecDeque::new(),
            streams: VecDeque::new(),
        }
    }

    /// Adds the slot of a request that was received.
    pub(super) fn add_received(&mut self, slot: SlotIndex) {
        if self.is_ordered {
            self.answers.push_back(slot);
        }
    }

    /// Adds a slot that has an outcome.
    pub(super) fn add_finished(&mut self, slot: SlotIndex) {
        if !self.is_ordered {
            self.answers.push_back(slot);
        }
    }

    /// Adds a slot that may have items.
    pub(super) fn add_stream(&mut self, slot: SlotIndex) {
        if !self.is_ordered && !self.streams.contains(&slot) {
            self.streams.push_back(slot);
        }
    }

    /// Returns the position among the answers of what can be sent next.
    pub(super) fn next_answer<F: Future<Output = Outcome>>(
        &self,
        slots: &Slots<F>,
    ) -> Option<usize> {
        let outcome = |slot: &SlotIndex| {
            let outcome = slots.outcome(*slot)?;
            // Its items come before it.
            (!slots.has_items(*slot)).then_some(outcome)
        };
        if self.is_ordered {
            return self.answers.front().and_then(outcome).map(|_| 0);
        }
        // What closes the connection waits for all others.
        let is_next = |slot: &SlotIndex| outcome(slot).is_some_and(|outcome| !outcome.closes());
        let next = self.answers.iter().position(is_next);
        next.or_else(|| {
            let is_alone = slots.in_use() == 1;
            // The answer to bytes that are not a frame is final.
            let is_last = |slot: &SlotIndex| {
                outcome(slot).is_some_and(|last| is_alone || !last.is_no_request())
            };
            let all_close = self.answers.len() == slots.in_use();
            all_close
                .then(|| self.answers.iter().position(is_last))
                .flatten()
        })
    }

    /// Returns the slot whose items are sent next.
    pub(super) fn next_stream<F: Future>(&mut self, slots: &mut Slots<F>) -> Option<SlotIndex> {
        if self.is_ordered {
            let slot = *self.answers.front()?;
            return slots.collect_items(slot).then_some(slot);
        }
        for _ in 0..self.streams.len() {
            let slot = self.streams.pop_front()?;
            let is_next = slots.collect_items(slot);
            // Otherwise it comes again when its function was polled.
            if is_next || slots.has_items(slot) {
                self.streams.push_back(slot);
            }
            if is_next {
                return Some(slot);
            }
        }
        None
    }

    /// Returns `true` if items can be sent.
    pub(super) fn has_stream<F: Future>(&self, slots: &Slots<F>) -> bool {
        if self.is_ordered {
            let slot = self.answers.front();
            return slot.is_some_and(|slot| slots.has_items(*slot));
        }
        let can_send = |slot: &SlotIndex| slots.has_items(*slot) && slots.has_credit(*slot);
        self.streams.iter().any(can_send)
    }

    /// Returns `true` if a stream can only end with a notice of the client: its items wait for credit.
    pub(super) fn needs_notices<F: Future<Output = Outcome>>(&self, slots: &Slots<F>) -> bool {
        let waits = |slot: &SlotIndex| slots.has_items(*slot) && !slots.has_credit(*slot);
        let is_cut = |slot: &SlotIndex| slots.outcome(*slot).is_some_and(Outcome::is_no_request);
        self.streams.iter().any(waits) && !self.answers.iter().any(is_cut)
    }

    /// Returns the slots of all requests that are not answered, in their order if they have one.
    pub(super) fn unanswered_requests<F: Future<Output = Outcome>>(
        &self,
        slots: &Slots<F>,
    ) -> Vec<SlotIndex> {
        let mut all: Vec<SlotIndex> = if self.is_ordered {
            self.answers.iter().copied().collect()
        } else {
            slots.unanswered().collect()
        };
        all.retain(|slot| !slots.outcome(*slot).is_some_and(Outcome::is_no_request));
        all
    }
}
