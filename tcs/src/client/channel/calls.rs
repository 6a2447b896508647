//! The calls of a channel, and the order in which their replies come.

use std::task::{Poll, Waker};

use super::reply::Reply;
use crate::{Rejection, RejectionKind, client::timer::TICKS};

/// The number of no slot.
const NONE: usize = usize::MAX;

/// The slots of all calls.
///
/// A slot is used again and keeps its buffer, so that a call allocates nothing. Each slot is in one
/// of two lists, which are linked through the slots: the free ones, and those whose replies are to
/// come. It is in none while its outcome is there and its caller has not looked. With `slab` and a
/// queue of numbers, a call costs a tenth more (decision 014).
#[derive(Debug)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// The slot that is the next to be used.
    free: usize,
    /// The slot whose reply is the next to come.
    oldest: usize,
    /// The slot whose reply is the last to come, if any is.
    newest: usize,
    /// The number of slots in use.
    used: usize,
    /// The number of calls that have their outcome and have not looked since.
    settled: usize,
}

/// A call. It takes one line of the processor's cache, so that many calls cost no more than few.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    stage: Stage,
    /// The reply, or the text of a rejection.
    reply: Vec<u8>,
    waker: Option<Waker>,
    /// Where its request begins in the bytes of all requests; or the length of a reply beyond the
    /// limit.
    start: u64,
    /// The tick in which it was made.
    tick: u32,
    /// The next slot in its list.
    next: usize,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its reply is to come.
    Open,
    /// Its reply is to come, and nobody waits for it.
    Abandoned,
    /// Its reply will come too late. The caller has not collected that yet.
    Late,
    /// Its reply is in the buffer of the slot. The caller has not collected it yet.
    Replied,
    /// Other outcomes that the caller has not collected yet.
    Rejected(RejectionKind),
    TooLarge,
    Failed,
}

/// What came of a call instead of a reply.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A reply of this many bytes, beyond the limit.
    TooLarge(u64),
    Rejected(Rejection),
    /// The connection failed. The request begins at this position.
    Failed(u64),
    /// Nothing in time. The reply is still to come.
    TimedOut,
}

impl Calls {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            used: 0,
            settled: 0,
        }
    }

    /// Takes a slot for a call whose request begins at `start`. Returns its number.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it has one caller")]
    pub(super) fn open(&mut self, start: u64, tick: u32, waker: Waker) -> usize {
        let mut number = self.free;
        match self.slots.get_mut(number) {
            Some(slot) => {
                self.free = slot.next;
                slot.stage = Stage::Open;
                slot.waker = Some(waker);
                slot.start = start;
                slot.tick = tick;
                slot.next = NONE;
            }
            None => number = self.add(start, tick, waker),
        }
        self.used += 1;
        if self.oldest == NONE {
            self.oldest = number;
        } else if let Some(newest) = self.slots.get_mut(self.newest) {
            newest.next = number;
        }
        self.newest = number;
        number
    }

    #[cold]
    fn add(&mut self, start: u64, tick: u32, waker: Waker) -> usize {
        self.slots.push(Slot::new(start, tick, waker, NONE));
        self.slots.len() - 1
    }

    /// Takes the outcome of a call, and frees its slot. A reply is put in `reply`, which must be empty.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it has one caller")]
    pub(super) fn poll_take(
        &mut self,
        number: usize,
        waker: &Waker,
        reply: &mut Reply,
    ) -> Poll<Result<(), Outcome>> {
        match self.slots.get_mut(number) {
            Some(slot) if slot.stage == Stage::Replied => {
                reply.exchange(&mut slot.reply);
                slot.next = self.free;
                self.free = number;
                self.used -= 1;
                self.settled -= 1;
                Poll::Ready(Ok(()))
            }
            _ => self.poll_end(number, waker).map(Err),
        }
    }

    /// Takes the outcome of a call that has no reply.
    #[cold]
    fn poll_end(&mut self, number: usize, waker: &Waker) -> Poll<Outcome> {
        let Some(slot) = self.slots.get_mut(number) else {
            return Poll::Pending;
        };
        let Some(outcome) = slot.outcome() else {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return Poll::Pending;
        };
        if slot.stage == Stage::Late {
            slot.stage = Stage::Abandoned;
        } else {
            self.settled -= 1;
            self.give_back(number);
        }
        Poll::Ready(outcome)
    }

    /// Forgets the caller of a call, whose reply is dropped when it comes. Returns its waker.
    pub(super) fn abandon(&mut self, number: usize) -> Option<Waker> {
        let slot = self.slots.get_mut(number)?;
        let waker = slot.waker.take();
        if matches!(slot.stage, Stage::Open | Stage::Abandoned | Stage::Late) {
            slot.stage = Stage::Abandoned;
        } else {
            self.settled -= 1;
            self.give_back(number);
        }
        waker
    }

    /// Returns where the request begins whose reply is the next to come.
    #[inline]
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.get(self.oldest).map(|slot| slot.start)
    }

    /// Ends the oldest call with a reply.
    #[inline]
    pub(super) fn reply(&mut self, reply: &[u8], wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.settle() {
            slot.stage = Stage::Replied;
            slot.reply.clear();
            slot.reply.extend_from_slice(reply);
            if let Some(waker) = slot.waker.take() {
                wakers.push(waker);
            }
        }
    }

    /// Ends the oldest call without a reply.
    pub(super) fn end(&mut self, outcome: Outcome, wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.settle() {
            slot.end(outcome);
            wakers.extend(slot.waker.take());
        }
    }

    /// Takes the oldest call off those whose replies are to come. Returns its slot, if it has a
    /// caller.
    #[inline]
    fn settle(&mut self) -> Option<&mut Slot> {
        let number = self.oldest;
        let slot = self.slots.get_mut(number)?;
        self.oldest = slot.next;
        if slot.stage == Stage::Abandoned {
            self.give_back(number);
            return None;
        }
        self.settled += 1;
        // Once more, because the borrow of the other path has ended.
        self.slots.get_mut(number)
    }

    /// Adds a slot to the free ones.
    fn give_back(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.next = self.free;
            self.free = number;
            self.used -= 1;
        }
    }

    /// Ends all calls, because the connection has failed.
    pub(super) fn fail(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(start) = self.first() {
            self.end(Outcome::Failed(start), wakers);
        }
    }

    /// Ends the calls that are late. Their replies are still to come.
    pub(super) fn expire(&mut self, tick: u32, wakers: &mut Vec<Waker>) {
        let mut number = self.oldest;
        while let Some(slot) = self.slots.get_mut(number)
            && slot.is_late(tick)
        {
            if slot.stage == Stage::Open {
                slot.end(Outcome::TimedOut);
                wakers.extend(slot.waker.take());
            }
            number = slot.next;
        }
    }

    /// Returns `true` if the oldest reply that is to come is late.
    pub(super) fn is_late(&self, tick: u32) -> bool {
        let oldest = self.slots.get(self.oldest);
        oldest.is_some_and(|slot| slot.is_late(tick))
    }

    /// Returns `true` if no reply is to come.
    pub(super) const fn is_answered(&self) -> bool {
        self.oldest == NONE
    }

    /// Returns the number of slots in use.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Returns the number of callers that were woken and have not looked yet.
    pub(super) const fn settled(&self) -> usize {
        self.settled
    }

    /// Frees the memory of a burst, if no slot is in use.
    pub(super) fn rest(&mut self) {
        if self.used == 0 {
            *self = Self::new();
        }
    }
}

impl Slot {
    const fn new(start: u64, tick: u32, waker: Waker, next: usize) -> Self {
        Self {
            stage: Stage::Open,
            reply: Vec::new(),
            waker: Some(waker),
            start,
            tick,
            next,
        }
    }

    const fn is_late(&self, tick: u32) -> bool {
        tick.wrapping_sub(self.tick) > TICKS
    }

    /// Stores what came of its call instead of a reply.
    fn end(&mut self, outcome: Outcome) {
        self.stage = match outcome {
            Outcome::Rejected(rejection) => {
                self.reply.clear();
                self.reply.extend_from_slice(rejection.text().as_bytes());
                Stage::Rejected(rejection.kind())
            }
            Outcome::TooLarge(length) => {
                self.start = length;
                Stage::TooLarge
            }
            Outcome::Failed(start) => {
                self.start = start;
                Stage::Failed
            }
            Outcome::TimedOut => Stage::Late,
        };
    }

    /// Returns what came of its call instead of a reply, if that is known.
    fn outcome(&self) -> Option<Outcome> {
        Some(match self.stage {
            Stage::Open | Stage::Abandoned | Stage::Replied => return None,
            Stage::Rejected(kind) => {
                let text = String::from_utf8_lossy(&self.reply);
                Outcome::Rejected(Rejection::new(kind, text))
            }
            Stage::TooLarge => Outcome::TooLarge(self.start),
            Stage::Failed => Outcome::Failed(self.start),
            Stage::Late => Outcome::TimedOut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(calls: &mut Calls, start: u64) -> usize {
        calls.open(start, 0, Waker::noop().clone())
    }

    fn taken(calls: &mut Calls, number: usize) -> Option<Vec<u8>> {
        let mut reply = Reply::new();
        match calls.poll_take(number, Waker::noop(), &mut reply) {
            Poll::Ready(Ok(())) => Some(reply.bytes().to_vec()),
            _ => None,
        }
    }

    fn reply(calls: &mut Calls, reply: &[u8], wakers: &mut Vec<Waker>) {
        calls.reply(reply, wakers);
    }

    #[test]
    fn slot_is_a_line_of_a_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn replies_are_found_in_any_order_and_slots_used_again() {
        let mut calls = Calls::new();
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        assert!(taken(&mut calls, second).is_none());
        reply(&mut calls, b"1", &mut wakers);
        reply(&mut calls, b"2", &mut wakers);
        assert_eq!((wakers.len(), calls.len(), calls.settled()), (2, 2, 2));
        assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
        let third = open(&mut calls, 2);
        assert_eq!(third, second);
        assert_eq!(taken(&mut calls, first), Some(b"1".to_vec()));
        assert!(taken(&mut calls, third).is_none());
        reply(&mut calls, b"3", &mut wakers);
        assert_eq!(taken(&mut calls, third), Some(b"3".to_vec()));
        assert_eq!((calls.len(), calls.settled()), (0, 0));
        calls.rest();
        assert_eq!(calls.slots.capacity(), 0);
    }

    #[test]
    fn slot_of_an_abandoned_call_is_free_when_its_reply_came() {
        let mut calls = Calls::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        calls.abandon(first);
        assert_eq!(calls.len(), 2);
        reply(&mut calls, b"1", &mut Vec::new());
        assert_eq!(calls.len(), 1);
        reply(&mut calls, b"2", &mut Vec::new());
        calls.abandon(second);
        assert_eq!((calls.len(), calls.settled()), (0, 0));
    }

    #[test]
    fn late_call_ends_once_and_keeps_its_place() {
        let mut calls = Calls::new();
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        calls.expire(TICKS, &mut wakers);
        assert!(wakers.is_empty() && !calls.is_late(TICKS));
        calls.expire(TICKS + 1, &mut wakers);
        assert!(wakers.len() == 2 && calls.is_late(TICKS + 1));
        let found = calls.poll_take(first, Waker::noop(), &mut Reply::new());
        assert!(matches!(found, Poll::Ready(Err(Outcome::TimedOut))));
        reply(&mut calls, b"1", &mut wakers);
        // It came before its caller looked.
        reply(&mut calls, b"2", &mut wakers);
        assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
        assert_eq!((calls.len(), calls.settled()), (0, 0));
    }

    #[test]
    fn failure_ends_each_call_with_its_position() {
        let mut calls = Calls::new();
        let numbers = [0, 10, 20].map(|start| open(&mut calls, start));
        calls.abandon(numbers[1]);
        calls.fail(&mut Vec::new());
        let ended = |number| match calls.poll_take(number, Waker::noop(), &mut Reply::new()) {
            Poll::Ready(Err(Outcome::Failed(start))) => Some(start),
            _ => None,
        };
        assert_eq!([numbers[0], numbers[2]].map(ended), [Some(0), Some(20)]);
        assert!(calls.is_answered() && calls.len() == 0);
    }
}
