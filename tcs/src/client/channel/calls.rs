//! The calls of a channel: a slot for each, and the order in which their replies come.

use std::{
    cell::Cell,
    collections::VecDeque,
    task::{Poll, Waker},
};

use crate::Refusal;

/// A reply timeout has so many ticks; a call that has seen more of them begin is late.
pub(super) const TICKS: u32 = 8;
/// A buffer for a reply that grew beyond this is freed with its reply.
const KEPT: usize = 4 * 1024;

/// The slots of all calls.
///
/// A slot is used again and keeps its buffer, so that a call allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// The slots that no call has; the last one is the next to be used.
    free: Vec<usize>,
    /// The slots whose replies are to come, the oldest first.
    order: VecDeque<usize>,
    /// How many calls have their outcome and have not looked since.
    settled: usize,
}

#[derive(Debug)]
struct Slot {
    stage: Stage,
    reply: Vec<u8>,
    waker: Option<Waker>,
    /// Where its request begins, counted in the bytes of all requests.
    start: u64,
    /// When it was made.
    tick: u32,
}

/// How far a call has come.
#[derive(Debug)]
enum Stage {
    /// Its reply is to come, or it is free.
    Open,
    /// Its reply is to come, and nobody waits for it.
    Abandoned,
    /// Its reply is to come too late.
    Late,
    /// It has its outcome, for which its caller has to look.
    Settled(Outcome),
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A reply, in the buffer of the slot.
    Reply,
    /// A reply of so many bytes, which are more than the limit.
    TooLarge(usize),
    Refused(Refusal),
    /// The connection failed after at least a part of the request was sent.
    Failed,
    /// The connection failed before anything of the request was sent.
    Unsent,
}

/// What a caller finds.
#[derive(Debug)]
pub(super) enum Found {
    Reply(Reply),
    TimedOut,
    Other(Outcome),
}

impl Calls {
    /// Takes a slot for a call whose request begins at `start`; returns its number.
    #[inline]
    pub(super) fn open(&mut self, start: u64, tick: u32, waker: Waker) -> usize {
        let number = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(number) {
            Some(slot) => {
                slot.stage = Stage::Open;
                slot.waker = Some(waker);
                slot.start = start;
                slot.tick = tick;
            }
            None => self.slots.push(Slot {
                stage: Stage::Open,
                reply: Vec::new(),
                waker: Some(waker),
                start,
                tick,
            }),
        }
        self.order.push_back(number);
        number
    }

    /// Looks whether a call has its outcome, which it then takes with its slot.
    #[inline]
    pub(super) fn poll_take(&mut self, number: usize, waker: &Waker) -> Poll<Found> {
        let Some(slot) = self.slots.get_mut(number) else {
            return Poll::Pending;
        };
        match std::mem::replace(&mut slot.stage, Stage::Open) {
            Stage::Settled(outcome) => {
                let found = match outcome {
                    Outcome::Reply => Found::Reply(Reply::exchange(&mut slot.reply)),
                    other => Found::Other(other),
                };
                self.settled -= 1;
                self.free.push(number);
                Poll::Ready(found)
            }
            Stage::Late => {
                slot.stage = Stage::Abandoned;
                Poll::Ready(Found::TimedOut)
            }
            waits @ (Stage::Open | Stage::Abandoned) => {
                slot.stage = waits;
                match &mut slot.waker {
                    Some(known) => known.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Forgets the caller of a call, whose reply is dropped when it comes; returns its waker.
    pub(super) fn abandon(&mut self, number: usize) -> Option<Waker> {
        let slot = self.slots.get_mut(number)?;
        let waker = slot.waker.take();
        if matches!(slot.stage, Stage::Settled(_)) {
            slot.stage = Stage::Open;
            self.settled -= 1;
            self.free.push(number);
        } else {
            slot.stage = Stage::Abandoned;
        }
        waker
    }

    /// Ends the oldest call with a reply.
    #[inline]
    pub(super) fn reply(&mut self, reply: &[u8], wakers: &mut Vec<Waker>) {
        if let Some(buffer) = self.settle(Outcome::Reply, wakers) {
            buffer.clear();
            buffer.extend_from_slice(reply);
        }
    }

    /// Ends the oldest call with what is no reply.
    pub(super) fn refuse(&mut self, outcome: Outcome, wakers: &mut Vec<Waker>) {
        self.settle(outcome, wakers);
    }

    /// Ends the oldest call; returns the buffer for its reply, if it has a caller.
    #[inline]
    fn settle(&mut self, outcome: Outcome, wakers: &mut Vec<Waker>) -> Option<&mut Vec<u8>> {
        let number = self.order.pop_front()?;
        let slot = self.slots.get_mut(number)?;
        if matches!(slot.stage, Stage::Abandoned) {
            self.free.push(number);
            return None;
        }
        slot.stage = Stage::Settled(outcome);
        self.settled += 1;
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        Some(&mut slot.reply)
    }

    /// Ends all calls, because the connection failed after `sent` bytes of their requests.
    pub(super) fn fail(&mut self, sent: u64, wakers: &mut Vec<Waker>) {
        while let Some(oldest) = self.oldest() {
            let outcome = if oldest.start < sent {
                Outcome::Failed
            } else {
                Outcome::Unsent
            };
            self.settle(outcome, wakers);
        }
    }

    /// Ends the calls that are late; their replies are still to come.
    pub(super) fn expire(&mut self, tick: u32, wakers: &mut Vec<Waker>) {
        for number in &self.order {
            let Some(slot) = self.slots.get_mut(*number) else {
                continue;
            };
            if !slot.is_late(tick) {
                break;
            }
            if matches!(slot.stage, Stage::Open) {
                slot.stage = Stage::Late;
                wakers.extend(slot.waker.take());
            }
        }
    }

    /// Tells whether the oldest reply that is to come is late.
    pub(super) fn is_late(&self, tick: u32) -> bool {
        self.oldest().is_some_and(|slot| slot.is_late(tick))
    }

    /// Tells whether a reply can come when so many bytes of all requests were sent.
    #[inline]
    pub(super) fn is_asked(&self, sent: u64) -> bool {
        self.oldest().is_some_and(|slot| slot.start < sent)
    }

    /// Tells whether no reply is to come.
    pub(super) fn is_answered(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns how many slots are in use.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns how many callers were woken and have not looked yet.
    pub(super) const fn settled(&self) -> usize {
        self.settled
    }

    /// Gives the memory of a burst back, if no slot is in use.
    pub(super) fn rest(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    fn oldest(&self) -> Option<&Slot> {
        self.slots.get(*self.order.front()?)
    }
}

impl Slot {
    const fn is_late(&self, tick: u32) -> bool {
        tick.wrapping_sub(self.tick) > TICKS
    }
}

thread_local! {
    /// The buffer of the last reply that was read on this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes of a reply, whose buffer is kept for the next one.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// Takes a reply and leaves a buffer in its place.
    #[inline]
    fn exchange(buffer: &mut Vec<u8>) -> Self {
        let spare = SPARE.try_with(Cell::take).unwrap_or_default();
        Self(std::mem::replace(buffer, spare))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() <= KEPT {
            buffer.clear();
            // At the end of a thread there may be none.
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(calls: &mut Calls, start: u64) -> usize {
        calls.open(start, 0, Waker::noop().clone())
    }

    fn taken(calls: &mut Calls, number: usize) -> Option<Vec<u8>> {
        match calls.poll_take(number, Waker::noop()) {
            Poll::Ready(Found::Reply(reply)) => Some(reply.bytes().to_vec()),
            _ => None,
        }
    }

    #[test]
    fn replies_are_found_in_any_order_and_slots_used_again() {
        let mut calls = Calls::default();
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        assert!(taken(&mut calls, second).is_none());
        calls.reply(b"1", &mut wakers);
        calls.reply(b"2", &mut wakers);
        assert_eq!((wakers.len(), calls.len(), calls.settled()), (2, 2, 2));
        assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
        let third = open(&mut calls, 2);
        assert_eq!(third, second);
        assert_eq!(taken(&mut calls, first), Some(b"1".to_vec()));
        assert!(taken(&mut calls, third).is_none());
        calls.reply(b"3", &mut wakers);
        assert_eq!(taken(&mut calls, third), Some(b"3".to_vec()));
        assert_eq!((calls.len(), calls.settled()), (0, 0));
        calls.rest();
        assert_eq!(calls.slots.capacity(), 0);
    }

    #[test]
    fn slot_of_an_abandoned_call_is_free_when_its_reply_came() {
        let mut calls = Calls::default();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        calls.abandon(first);
        assert_eq!(calls.len(), 2);
        calls.reply(b"1", &mut Vec::new());
        assert_eq!(calls.len(), 1);
        calls.reply(b"2", &mut Vec::new());
        calls.abandon(second);
        assert_eq!((calls.len(), calls.settled()), (0, 0));
    }

    #[test]
    fn late_call_ends_once_and_keeps_its_place() {
        let mut calls = Calls::default();
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        calls.expire(TICKS, &mut wakers);
        assert!(wakers.is_empty() && !calls.is_late(TICKS));
        calls.expire(TICKS + 1, &mut wakers);
        assert!(wakers.len() == 2 && calls.is_late(TICKS + 1));
        let found = calls.poll_take(first, Waker::noop());
        assert!(matches!(found, Poll::Ready(Found::TimedOut)));
        calls.reply(b"1", &mut wakers);
        // It came before its caller looked.
        calls.reply(b"2", &mut wakers);
        assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
        assert_eq!((calls.len(), calls.settled()), (0, 0));
    }

    #[test]
    fn failure_tells_sent_requests_from_unsent_ones() {
        let mut calls = Calls::default();
        let numbers = [0, 10, 20].map(|start| open(&mut calls, start));
        assert!(calls.is_asked(1) && !calls.is_asked(0));
        calls.fail(15, &mut Vec::new());
        let found = numbers.map(|number| calls.poll_take(number, Waker::noop()));
        let [first, second, third] = found;
        for sent in [first, second] {
            assert!(matches!(sent, Poll::Ready(Found::Other(Outcome::Failed))));
        }
        assert!(matches!(third, Poll::Ready(Found::Other(Outcome::Unsent))));
    }
}
