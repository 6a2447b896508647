//! Whose turn it is to be answered.

use std::{collections::VecDeque, mem::take};

use super::{
    execute::Outcome,
    slots::{SlotIndex, Slots},
};

/// The slots whose replies or items are to be sent.
pub(super) struct Outbox {
    pub(super) is_ordered: bool,
    /// The slots to answer: with an order, the slots of all requests; without, the slots that have an outcome.
    answers: VecDeque<SlotIndex>,
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

    /// Returns how many answers wait.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Returns `true` if an answer can be sent.
    pub(super) fn has_answer<F: Future<Output = Outcome>>(&self, slots: &Slots<F>) -> bool {
        self.next_answer(slots).is_some()
    }

    /// Takes the slot whose answer is sent next.
    pub(super) fn take_answer<F: Future<Output = Outcome>>(
        &mut self,
        slots: &Slots<F>,
    ) -> Option<SlotIndex> {
        self.answers.remove(self.next_answer(slots)?)
    }

    /// Puts back a slot after a part of its answer was sent, so that others have their turn.
    pub(super) fn put_back(&mut self, slot: SlotIndex) {
        self.answers.push_back(slot);
    }

    /// Takes all slots that were not answered.
    pub(super) fn take_all(&mut self) -> VecDeque<SlotIndex> {
        take(&mut self.answers)
    }

    /// Returns the position among the answers of what can be sent next.
    fn next_answer<F: Future<Output = Outcome>>(&self, slots: &Slots<F>) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};

    use super::*;
    use crate::{ConnectionInfo, Peer, Rejection, RejectionKind, framing::FrameError};

    #[derive(Clone, Copy, Debug)]
    enum Request {
        Running,
        Done,
        /// Done, with an item that was not sent.
        WithItem,
        /// Done, and the connection closes after its answer.
        Last,
        BadFrame,
    }

    use Request::{BadFrame, Done, Last, Running, WithItem};

    impl Request {
        fn outcome(self) -> Option<Outcome> {
            let rejected = |kind| Outcome::Rejected(Rejection::new(kind, ""));
            Some(match self {
                Running => return None,
                Done | WithItem => rejected(RejectionKind::Error),
                Last => rejected(RejectionKind::GoingAway),
                BadFrame => Outcome::BadFrame(FrameError::malformed("it is")),
            })
        }
    }

    /// Returns which of these requests is answered next.
    fn answered_next(is_ordered: bool, requests: &[Request]) -> Option<usize> {
        let mut slots = Slots::<Pending<Outcome>>::new();
        let mut outbox = Outbox::new(is_ordered);
        let mut opened = Vec::new();
        for request in requests {
            let slot = slots.open(&ConnectionInfo::new(Peer::unnamed()));
            opened.push(slot);
            outbox.add_received(slot);
            match request.outcome() {
                Some(outcome) => {
                    slots.set_outcome(slot, outcome);
                    outbox.add_finished(slot);
                }
                None => slots.start(slot, pending()),
            }
            if let (WithItem, Some(active)) = (request, slots.request_mut(slot)) {
                active.items.push(b"item");
            }
        }
        let answer = outbox.take_answer(&slots)?;
        opened.iter().position(|slot| *slot == answer)
    }

    #[test]
    fn answers_in_order_wait_for_the_oldest_request() {
        const ALL: [Request; 5] = [Running, Done, WithItem, Last, BadFrame];
        for (first, expected) in [
            (Running, None),
            (Done, Some(0)),
            (WithItem, None),
            (Last, Some(0)),
            (BadFrame, Some(0)),
        ] {
            assert_eq!(answered_next(true, &[first]), expected, "{first:?}");
            for second in ALL {
                let answered = answered_next(true, &[first, second]);
                assert_eq!(answered, expected, "{first:?}, {second:?}");
            }
        }
    }

    #[test]
    fn what_closes_the_connection_is_answered_after_all_others() {
        const FIRST: Option<usize> = Some(0);
        const SECOND: Option<usize> = Some(1);
        for (first, alone, [running, done, with_item, last, bad_frame]) in [
            (Running, None, [None, SECOND, None, None, None]),
            (Done, FIRST, [FIRST; 5]),
            // Its items come before it, even if the connection closes.
            (WithItem, None, [None, SECOND, None, SECOND, None]),
            (Last, FIRST, [None, SECOND, FIRST, FIRST, FIRST]),
            // Nothing is received after it, so the others were received before.
            (BadFrame, FIRST, [None, SECOND, None, SECOND, None]),
        ] {
            assert_eq!(answered_next(false, &[first]), alone, "{first:?}");
            for (second, expected) in [
                (Running, running),
                (Done, done),
                (WithItem, with_item),
                (Last, last),
                (BadFrame, bad_frame),
            ] {
                let answered = answered_next(false, &[first, second]);
                assert_eq!(answered, expected, "{first:?}, {second:?}");
            }
        }
    }
}
