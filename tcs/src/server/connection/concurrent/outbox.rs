//! The order in which responses and items are sent.

use std::{collections::VecDeque, mem::take};

use super::{
    execute::{Outcome, closes},
    request::ActiveRequest,
    slots::Slots,
};

/// Queues of the slots that have a response or items to send.
pub(super) struct Outbox {
    pub(super) is_ordered: bool,
    /// The slots to answer: with an order, the slots of all requests; without, the slots that have an outcome.
    answers: VecDeque<usize>,
    /// Without an order, the slots that may have items to send, in turn.
    streams: VecDeque<usize>,
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
    pub(super) fn add_received(&mut self, slot: usize) {
        if self.is_ordered {
            self.answers.push_back(slot);
        }
    }

    /// Adds a slot that has an outcome.
    pub(super) fn add_finished(&mut self, slot: usize) {
        if !self.is_ordered {
            self.answers.push_back(slot);
        }
    }

    /// Adds a slot that may have items, each time its function was polled.
    pub(super) fn add_stream(&mut self, slot: usize) {
        if !self.is_ordered && !self.streams.contains(&slot) {
            self.streams.push_back(slot);
        }
    }

    /// Returns how many answers wait.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// Returns the slot of the newest request, if requests have an order.
    pub(super) fn newest(&self) -> Option<usize> {
        self.answers.back().copied().filter(|_| self.is_ordered)
    }

    /// Takes the slot whose answer is sent next.
    pub(super) fn take_answer<F: Future<Output = Outcome>>(
        &mut self,
        slots: &Slots<F>,
    ) -> Option<usize> {
        self.answers.remove(self.next_answer(slots)?)
    }

    /// Puts back a slot after a part of its answer was sent, so that others have their turn.
    pub(super) fn put_back(&mut self, slot: usize) {
        self.answers.push_back(slot);
    }

    /// Takes all slots that were not answered.
    pub(super) fn take_all(&mut self) -> VecDeque<usize> {
        take(&mut self.answers)
    }

    /// Returns the position of the answer that can be sent next.
    fn next_answer<F: Future<Output = Outcome>>(&self, slots: &Slots<F>) -> Option<usize> {
        let outcome = |slot: &usize| {
            let outcome = slots.outcome(*slot)?;
            // The items of a request come before its answer.
            (!has(slots, *slot, ActiveRequest::has_items)).then_some(outcome)
        };
        if self.is_ordered {
            return self.answers.front().and_then(outcome).map(|_| 0);
        }
        // An answer that closes the connection waits for all others: its final frame says that they were not executed.
        let is_next = |slot: &usize| outcome(slot).is_some_and(|next| !closes(next));
        let all_close = self.answers.len() == slots.in_use();
        let is_last = |slot: &usize| all_close && outcome(slot).is_some();
        let next = self.answers.iter().position(is_next);
        next.or_else(|| self.answers.iter().position(is_last))
    }

    /// Returns the slot whose items are sent next.
    pub(super) fn next_stream<F: Future>(&mut self, slots: &mut Slots<F>) -> Option<usize> {
        if self.is_ordered {
            let slot = *self.answers.front()?;
            return slots.request_mut(slot)?.collect_items().then_some(slot);
        }
        for _ in 0..self.streams.len() {
            let slot = self.streams.pop_front()?;
            let request = slots.request_mut(slot)?;
            let is_next = request.collect_items();
            // A slot without items is added again when its function was polled.
            if request.has_items() {
                self.streams.push_back(slot);
            }
            if is_next {
                return Some(slot);
            }
        }
        None
    }

    /// Returns the slots that may have items to send, without an order.
    pub(super) fn streams(&self) -> impl Iterator<Item = usize> {
        self.streams.iter().copied()
    }

    /// Returns `true` if an answer or items can be sent.
    pub(super) fn can_send<F: Future<Output = Outcome>>(&self, slots: &Slots<F>) -> bool {
        // Only streams without an order have credit that can be used up.
        let can_send = |request: &ActiveRequest| request.has_items() && request.has_credit();
        let oldest = self.answers.front().filter(|_| self.is_ordered);
        self.next_answer(slots).is_some()
            || (self.streams.iter().chain(oldest)).any(|slot| has(slots, *slot, can_send))
    }

    /// Returns `true` if a stream can only end with a notice of the client: its items wait for credit.
    pub(super) fn needs_notices<F: Future>(&self, slots: &Slots<F>) -> bool {
        let waits = ActiveRequest::waits_for_credit;
        self.streams.iter().any(|slot| has(slots, *slot, waits))
    }

    /// Returns the slots of all requests that are not answered, in order if there is one.
    pub(super) fn unanswered<F: Future>(&self, slots: &Slots<F>) -> Vec<usize> {
        if self.is_ordered {
            self.answers.iter().copied().collect()
        } else {
            slots.unanswered().collect()
        }
    }
}

/// Returns `true` if the request in a slot has this property.
fn has<F: Future>(
    slots: &Slots<F>,
    slot: usize,
    property: impl FnOnce(&ActiveRequest) -> bool,
) -> bool {
    slots.request(slot).is_some_and(property)
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};

    use super::*;
    use crate::{ConnectionInfo, Peer, Rejection, RejectionKind};

    #[derive(Clone, Copy, Debug)]
    enum Request {
        Running,
        Done,
        /// Done, with an item that was not sent.
        WithItem,
        /// Done, and the connection closes after its answer.
        Last,
    }

    use Request::{Done, Last, Running, WithItem};

    impl Request {
        fn outcome(self) -> Option<Outcome> {
            let rejected = |kind| Err(Rejection::new(kind, ""));
            Some(match self {
                Running => return None,
                Done | WithItem => rejected(RejectionKind::Error),
                Last => rejected(RejectionKind::GoingAway),
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
        const ALL: [Request; 4] = [Running, Done, WithItem, Last];
        for (first, expected) in [
            (Running, None),
            (Done, Some(0)),
            (WithItem, None),
            (Last, Some(0)),
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
        for (first, alone, [running, done, with_item, last]) in [
            (Running, None, [None, SECOND, None, None]),
            (Done, FIRST, [FIRST; 4]),
            // The item comes before the answer, even if the connection closes.
            (WithItem, None, [None, SECOND, None, SECOND]),
            (Last, FIRST, [None, SECOND, FIRST, FIRST]),
        ] {
            assert_eq!(answered_next(false, &[first]), alone, "{first:?}");
            for (second, expected) in [
                (Running, running),
                (Done, done),
                (WithItem, with_item),
                (Last, last),
            ] {
                let answered = answered_next(false, &[first, second]);
                assert_eq!(answered, expected, "{first:?}, {second:?}");
            }
        }
    }
}
