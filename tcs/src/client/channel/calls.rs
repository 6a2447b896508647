//! The calls of a channel, in the order in which their replies come.

use std::{mem, task::Waker};

use super::reply::Reply;
use crate::Error;

/// The number of no slot.
const NONE: usize = usize::MAX;

/// The calls of a channel, each in a numbered slot.
///
/// A freed slot is reused with its buffer, so that a call allocates nothing. Two lists are linked
/// through the slots: the free slots, and the calls whose replies are still to come. A call that is
/// settled, but not collected, is in neither. `slab` and a queue of numbers would cost a tenth of a
/// call (decision 014).
#[derive(Debug)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// The first free slot.
    free: usize,
    /// The call whose reply is the next to come.
    oldest: usize,
    /// The call whose reply is the last to come. Only valid if `oldest` is.
    newest: usize,
    /// The number of slots in use.
    used: usize,
    /// The number of calls that are settled, but not collected.
    settled: usize,
    /// The number of ticks that a call may take.
    limit: u32,
    /// The number of ticks so far.
    now: u32,
    /// The tick in which something arrived last.
    arrived: u32,
}

/// A call. It fills one cache line, so that a call costs the same among many as among few.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    stage: Stage,
    /// The result of a settled call. Until then a buffer for the reply.
    result: Result<Vec<u8>, Error>,
    waker: Option<Waker>,
    /// The position of its request.
    start: u64,
    /// The tick in which it was made.
    made: u32,
    /// The next slot in its list.
    next: usize,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reply is still to come.
    Open,
    /// The reply is still to come, but too late. The caller does not know that yet.
    Late,
    /// The reply is still to come, and nobody waits for it.
    Abandoned,
    /// The result is there. The caller has not collected it yet.
    Settled,
}

impl Calls {
    /// Creates a list of calls that may take `limit` ticks each.
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            used: 0,
            settled: 0,
            limit,
            now: 0,
            arrived: 0,
        }
    }

    /// Adds a call whose request begins at `start`. Returns the number of its slot.
    #[inline(always)]
    pub(super) fn open(&mut self, start: u64, waker: Waker) -> usize {
        let mut number = self.free;
        match self.slots.get_mut(number) {
            Some(slot) => {
                self.free = slot.next;
                slot.stage = Stage::Open;
                slot.waker = Some(waker);
                slot.start = start;
                slot.made = self.now;
                slot.next = NONE;
            }
            None => number = self.add(start, waker),
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
    fn add(&mut self, start: u64, waker: Waker) -> usize {
        self.slots.push(Slot {
            stage: Stage::Open,
            result: Ok(Vec::new()),
            waker: Some(waker),
            start,
            made: self.now,
            next: NONE,
        });
        self.slots.len() - 1
    }

    /// Takes the result of a call, if there is one. Frees the slot, unless the reply is still to come.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        number: usize,
        timed_out: impl FnOnce() -> Error,
    ) -> Option<Result<Reply, Error>> {
        let slot = self.slots.get_mut(number)?;
        match slot.stage {
            Stage::Settled => {
                let result = mem::replace(&mut slot.result, Ok(Reply::take_spare()));
                self.settled -= 1;
                self.release(number);
                Some(result.map(Reply))
            }
            Stage::Late => {
                slot.stage = Stage::Abandoned;
                Some(Err(timed_out()))
            }
            Stage::Open | Stage::Abandoned => None,
        }
    }

    /// Exchanges the waker of a call. Returns `false` if the call has a result, so that nobody wakes it.
    #[cold]
    pub(super) fn watch(&mut self, number: usize, waker: &mut Option<Waker>) -> bool {
        match self.slots.get_mut(number) {
            Some(slot) if slot.stage == Stage::Open => {
                mem::swap(&mut slot.waker, waker);
                true
            }
            _ => false,
        }
    }

    /// Removes the caller of a call, whose reply is then dropped when it comes. Returns its waker.
    pub(super) fn abandon(&mut self, number: usize) -> Option<Waker> {
        let slot = self.slots.get_mut(number)?;
        let waker = slot.waker.take();
        if slot.stage == Stage::Settled {
            // Dropped, because a large reply must not keep its memory in the slot.
            slot.result = Ok(Vec::new());
            self.settled -= 1;
            self.release(number);
        } else {
            slot.stage = Stage::Abandoned;
        }
        waker
    }

    /// Returns the position of the request whose reply is the next to come.
    #[inline]
    pub(super) fn oldest_start(&self) -> Option<u64> {
        self.slots.get(self.oldest).map(|slot| slot.start)
    }

    /// Settles the oldest call with a reply, or with the error of `no_memory` if it cannot be copied.
    #[inline]
    pub(super) fn reply(
        &mut self,
        reply: &[u8],
        wakers: &mut Vec<Waker>,
        no_memory: impl FnOnce() -> Error,
    ) {
        if let Some(slot) = self.settle(wakers)
            && let Ok(buffer) = &mut slot.result
        {
            buffer.clear();
            match buffer.try_reserve(reply.len()) {
                Ok(()) => buffer.extend_from_slice(reply),
                Err(_) => slot.result = Err(no_memory()),
            }
        }
    }

    /// Settles the oldest call with an error.
    #[cold]
    pub(super) fn fail(&mut self, error: Error, wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.settle(wakers) {
            slot.result = Err(error);
        }
    }

    /// Removes the oldest call from those whose replies are to come. Returns its slot, for the
    /// result, unless the call was abandoned.
    #[inline]
    fn settle(&mut self, wakers: &mut Vec<Waker>) -> Option<&mut Slot> {
        let number = self.oldest;
        let slot = self.slots.get_mut(number)?;
        self.oldest = slot.next;
        if slot.stage == Stage::Abandoned {
            self.release(number);
            return None;
        }
        self.settled += 1;
        // Borrowed again, because the borrow checker extends the first borrow to all paths.
        let slot = self.slots.get_mut(number)?;
        slot.stage = Stage::Settled;
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        Some(slot)
    }

    /// Adds a slot to the free ones.
    #[inline]
    fn release(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.next = self.free;
            self.free = number;
            self.used -= 1;
        }
    }

    /// Records that something has arrived.
    #[inline]
    pub(super) const fn note_arrival(&mut self) {
        self.arrived = self.now;
    }

    /// Begins the next tick and ends the wait of each call that is late. Its reply is still to come.
    ///
    /// Returns `false` if nothing has arrived during the whole time of a call. Frees the memory of a
    /// burst once all calls are over.
    pub(super) fn tick(&mut self, wakers: &mut Vec<Waker>) -> bool {
        self.now = self.now.wrapping_add(1);
        let (now, limit) = (self.now, self.limit);
        let is_late = |tick| now.wrapping_sub(tick) > limit;
        let mut number = self.oldest;
        while let Some(slot) = self.slots.get_mut(number)
            && is_late(slot.made)
        {
            if is_late(self.arrived) {
                return false;
            }
            if slot.stage == Stage::Open {
                slot.stage = Stage::Late;
                wakers.extend(slot.waker.take());
            }
            number = slot.next;
        }
        if self.used == 0 {
            self.slots = Vec::new();
            self.free = NONE;
        }
        true
    }

    /// Returns the number of slots in use.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Returns the number of calls that are settled, but not collected.
    pub(super) const fn settled(&self) -> usize {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    const LIMIT: u32 = 8;

    fn open(calls: &mut Calls, start: u64) -> usize {
        calls.open(start, Waker::noop().clone())
    }

    fn error() -> Error {
        Error::closed(&Peer::unnamed())
    }

    fn reply(calls: &mut Calls, reply: &[u8], wakers: &mut Vec<Waker>) {
        calls.reply(reply, wakers, error);
    }

    fn taken(calls: &mut Calls, number: usize) -> Option<Vec<u8>> {
        let reply = calls.take(number, error)?.ok()?;
        Some(reply.0.clone())
    }

    #[test]
    fn slot_is_a_line_of_a_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn replies_are_found_in_any_order_and_slots_used_again() {
        let mut calls = Calls::new(LIMIT);
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
        assert!(calls.tick(&mut wakers));
        assert_eq!(calls.slots.capacity(), 0);
        let again = open(&mut calls, 3);
        reply(&mut calls, b"4", &mut wakers);
        assert_eq!(taken(&mut calls, again), Some(b"4".to_vec()));
    }

    #[test]
    fn slot_of_an_abandoned_call_is_free_when_its_reply_came() {
        let mut calls = Calls::new(LIMIT);
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
    fn large_reply_keeps_no_memory_in_its_slot() {
        let kept = |calls: &Calls| match &calls.slots[0].result {
            Ok(buffer) => buffer.capacity(),
            Err(_) => 0,
        };
        let mut calls = Calls::new(LIMIT);
        for is_abandoned in [false, true] {
            let number = open(&mut calls, 0);
            reply(&mut calls, &vec![0; 1 << 20], &mut Vec::new());
            if is_abandoned {
                calls.abandon(number);
            } else {
                taken(&mut calls, number).expect("a reply");
            }
            assert!(kept(&calls) <= 4 * 1024, "{}", kept(&calls));
        }
    }

    #[test]
    fn late_call_ends_once_and_keeps_its_place() {
        let mut calls = Calls::new(LIMIT);
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut calls, 0), open(&mut calls, 1));
        for _ in 0..LIMIT {
            assert!(calls.tick(&mut wakers) && wakers.is_empty());
        }
        // With nothing from the server, the connection is given up instead.
        assert!(!calls.tick(&mut wakers) && wakers.is_empty());
        calls.note_arrival();
        assert!(calls.tick(&mut wakers));
        assert_eq!(wakers.len(), 2);
        assert!(matches!(calls.take(first, error), Some(Err(_))));
        reply(&mut calls, b"1", &mut wakers);
        // It came before its caller looked.
        reply(&mut calls, b"2", &mut wakers);
        assert_eq!(taken(&mut calls, second), Some(b"2".to_vec()));
        assert_eq!((calls.len(), calls.settled()), (0, 0));
    }

    #[test]
    fn slot_of_a_failed_call_is_used_again() {
        let mut calls = Calls::new(LIMIT);
        let number = open(&mut calls, 0);
        calls.fail(error(), &mut Vec::new());
        assert!(matches!(calls.take(number, error), Some(Err(_))));
        let number = open(&mut calls, 1);
        reply(&mut calls, b"1", &mut Vec::new());
        assert_eq!(taken(&mut calls, number), Some(b"1".to_vec()));
        assert!(calls.oldest_start().is_none() && calls.len() == 0);
    }
}
