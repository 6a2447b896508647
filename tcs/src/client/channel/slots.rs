//! The calls of a channel, oldest first.

use std::{mem, task::Waker};

use super::reply::{self, Reply};
use crate::{Error, Execution, Peer, framing::FrameError};

/// The index of no slot.
const NONE: u32 = u32::MAX;
/// The most slots that are kept without ticks: they and their buffers take at most 260 KiB.
const MAX_IDLE_SLOTS: usize = 64;

/// The calls of a channel, each in a slot with an index.
///
/// A freed slot is reused with its buffer, so that a call allocates nothing. Two lists are linked
/// through the slots: the free slots, and the calls whose replies are still to come, in the order of their requests. A
/// call that is complete, but whose result was not taken, is in neither. Decision 014 says why this is not `slab` and a
/// queue of indices.
///
/// Without ids, the next reply is that of the oldest call. The id of a call is the index of its slot plus 1, which is not
/// free before the reply has come.
#[derive(Debug)]
pub(super) struct Slots {
    entries: Vec<Slot>,
    /// The first free slot.
    free: u32,
    /// The oldest call whose reply is still to come.
    oldest: u32,
    /// The newest one, if there is an oldest.
    newest: u32,
    /// The number of slots in use.
    used: usize,
    /// The number of ticks that a call may take. Zero if there are none.
    max_ticks: u32,
    /// The number of ticks so far.
    now: u32,
    /// The tick in which something arrived last.
    last_arrival: u32,
}

/// Why a call has no reply.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// The request without its frame, if it can be sent again.
    pub(super) request: Option<Vec<u8>>,
}

impl Failure {
    #[cold]
    fn no_memory(peer: &Peer, length: usize) -> Self {
        Self::without_retry(Error::no_frame(peer, FrameError::out_of_memory(length)))
    }

    /// Returns `true` if the function was executed to its end: its error is an answer, too.
    pub(super) fn is_answer(&self) -> bool {
        self.error.execution() == Execution::Executed
    }

    /// Creates the failure of a call whose request may have been executed, and is not sent again.
    #[cold]
    pub(super) const fn without_retry(error: Error) -> Self {
        Self {
            error,
            request: None,
        }
    }
}

/// A call. It fills one cache line, so that a call costs the same among many as among few.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    stage: Stage,
    /// The buffer that the reply is copied to, or why there is none. The buffer is empty until then, except for the parts
    /// of the reply that have come.
    result: Result<Vec<u8>, Box<Failure>>,
    waker: Option<Waker>,
    /// The offset of its request in the bytes of all requests.
    offset: u64,
    /// The tick in which it was queued.
    started: u32,
    /// The next slot in its list.
    next: u32,
    /// The one before it in the list of calls. That of the oldest is not read.
    previous: u32,
}

/// The state of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reply is still to come.
    Pending,
    /// The reply is still to come, but too late. The caller does not know that yet.
    TimedOut,
    /// The reply is still to come, and nobody waits for it.
    Abandoned,
    /// The result is there. The caller has not taken it yet, or the slot is free.
    Complete,
}

impl Slots {
    /// Creates a list of calls that may take `max_ticks` ticks each, or, with zero, any time.
    pub(super) const fn new(max_ticks: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            used: 0,
            max_ticks,
            now: 0,
            last_arrival: 0,
        }
    }

    /// Returns the id of the call that is added next.
    pub(super) fn next_id(&self) -> u32 {
        match self.free {
            NONE => index_of(self.entries.len()) + 1,
            free => free + 1,
        }
    }

    /// Returns the call with this id, if its reply is still to come.
    pub(super) fn with_id(&self, id: u32) -> Option<u32> {
        let index = id.checked_sub(1)?;
        let slot = self.entries.get(index as usize)?;
        (slot.stage != Stage::Complete).then_some(index)
    }

    /// Adds a call whose request begins at `offset`. Returns the index of its slot.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn insert(&mut self, offset: u64, waker: Waker) -> u32 {
        let (previous, now) = (self.newest, self.now);
        let index = match self.entries.get_mut(self.free as usize) {
            Some(slot) => {
                slot.stage = Stage::Pending;
                slot.waker = Some(waker);
                slot.offset = offset;
                slot.started = now;
                slot.previous = previous;
                mem::replace(&mut self.free, mem::replace(&mut slot.next, NONE))
            }
            None => self.add(offset, waker),
        };
        self.used += 1;
        if self.oldest == NONE {
            self.oldest = index;
        } else if let Some(newest) = self.entries.get_mut(previous as usize) {
            newest.next = index;
        }
        self.newest = index;
        index
    }

    #[cold]
    fn add(&mut self, offset: u64, waker: Waker) -> u32 {
        let index = index_of(self.entries.len());
        self.entries.push(Slot {
            stage: Stage::Pending,
            result: Ok(Vec::new()),
            waker: Some(waker),
            offset,
            started: self.now,
            next: NONE,
            previous: self.newest,
        });
        index
    }

    /// Takes the result of a call, if there is one. Frees the slot, unless the reply is still to come.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn take_result(
        &mut self,
        index: u32,
        timed_out: impl FnOnce() -> Error,
    ) -> Option<Result<Reply, Box<Failure>>> {
        let slot = self.entries.get_mut(index as usize)?;
        match slot.stage {
            Stage::Complete => {
                let result = mem::replace(&mut slot.result, Ok(reply::take_spare()));
                self.release(index);
                Some(result.map(Reply))
            }
            Stage::TimedOut => {
                slot.stage = Stage::Abandoned;
                slot.result = Ok(Vec::new());
                Some(Err(Failure::without_retry(timed_out()).into()))
            }
            Stage::Pending | Stage::Abandoned => None,
        }
    }

    /// Exchanges the waker of a call. Returns `false` if the call has a result, so that nobody wakes it.
    #[cold]
    pub(super) fn set_waker(&mut self, index: u32, waker: &mut Option<Waker>) -> bool {
        match self.entries.get_mut(index as usize) {
            Some(slot) if slot.stage == Stage::Pending => {
                mem::swap(&mut slot.waker, waker);
                true
            }
            _ => false,
        }
    }

    /// Removes the caller of a call, whose reply is then dropped when it comes. Returns its waker, which it has while the
    /// reply is still to come in time.
    pub(super) fn abandon(&mut self, index: u32) -> Option<Waker> {
        let slot = self.entries.get_mut(index as usize)?;
        let waker = slot.waker.take();
        // Dropped, because a large reply must not keep its memory in the slot.
        slot.result = Ok(Vec::new());
        if slot.stage == Stage::Complete {
            self.release(index);
        } else {
            slot.stage = Stage::Abandoned;
        }
        waker
    }

    /// Returns the oldest call whose reply is still to come.
    #[inline]
    pub(super) const fn oldest(&self) -> Option<u32> {
        match self.oldest {
            NONE => None,
            oldest => Some(oldest),
        }
    }

    /// Returns the offset of the request of a call.
    #[inline]
    pub(super) fn offset(&self, index: u32) -> Option<u64> {
        self.entries.get(index as usize).map(|slot| slot.offset)
    }

    /// Returns the offset of the oldest request whose reply is still to come.
    #[inline]
    pub(super) fn oldest_offset(&self) -> Option<u64> {
        self.offset(self.oldest)
    }

    /// Completes a call with an error or with a copy of its reply, for which there may be no memory.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn complete(
        &mut self,
        index: u32,
        result: Result<&[u8], Box<Failure>>,
        peer: &Peer,
        wakers: &mut Vec<Waker>,
    ) {
        let Some(slot) = self.take(index, wakers) else {
            return;
        };
        if let Err(failure) = result.and_then(|reply| slot.copy(reply, peer)) {
            slot.result = Err(failure);
        }
    }

    /// Adds a part of the reply to a call, of at most `limit` bytes in all.
    #[cold]
    pub(super) fn add_part(&mut self, index: u32, part: &[u8], limit: usize, peer: &Peer) {
        let Some(slot) = self.entries.get_mut(index as usize) else {
            return;
        };
        // Nobody waits for the reply to another one.
        if slot.stage == Stage::Pending
            && let Ok(parts) = &slot.result
        {
            let length = parts.len() + part.len();
            let added = if length > limit {
                let error = Error::too_large(peer, length, limit);
                Err(Failure::without_retry(error).into())
            } else {
                slot.copy(part, peer)
            };
            if let Err(failure) = added {
                slot.result = Err(failure);
            }
        }
    }

    /// Returns `true` if a part of the reply to a call has come.
    pub(super) fn has_parts(&self, index: u32) -> bool {
        let slot = self.entries.get(index as usize);
        slot.is_some_and(|slot| slot.result.as_ref().is_ok_and(|parts| !parts.is_empty()))
    }

    /// Gives a call an error as its result, for which its reply, which is still to come, makes no difference.
    #[cold]
    pub(super) fn fail(&mut self, index: u32, error: Error) {
        if let Some(slot) = self.entries.get_mut(index as usize)
            && slot.stage == Stage::Pending
        {
            slot.result = Err(Failure::without_retry(error).into());
        }
    }

    /// Removes a call from those whose replies are to come. Returns its slot, for the result, unless the call was
    /// abandoned.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    fn take(&mut self, index: u32, wakers: &mut Vec<Waker>) -> Option<&mut Slot> {
        let slot = self.entries.get_mut(index as usize)?;
        let is_abandoned = slot.stage == Stage::Abandoned;
        slot.stage = Stage::Complete;
        let (previous, next) = (slot.previous, slot.next);
        if index == self.oldest {
            self.oldest = next;
        } else {
            self.link(previous, next);
        }
        if is_abandoned {
            self.release(index);
            return None;
        }
        // Borrowed again, because the borrow checker extends the first borrow to all paths.
        let slot = self.entries.get_mut(index as usize)?;
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        Some(slot)
    }

    /// Links two calls, between which one is removed.
    #[cold]
    fn link(&mut self, previous: u32, next: u32) {
        if let Some(slot) = self.entries.get_mut(previous as usize) {
            slot.next = next;
        }
        match self.entries.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => self.newest = previous,
        }
    }

    /// Adds a slot to the free ones.
    #[inline]
    fn release(&mut self, index: u32) {
        if let Some(slot) = self.entries.get_mut(index as usize) {
            slot.next = self.free;
            self.free = index;
            self.used -= 1;
            if self.used == 0 && self.max_ticks == 0 && self.entries.len() > MAX_IDLE_SLOTS {
                // No tick comes that would do it.
                self.free_memory();
            }
        }
    }

    /// Frees the memory of a burst.
    #[cold]
    fn free_memory(&mut self) {
        self.entries = Vec::new();
        self.free = NONE;
    }

    /// Records that something has arrived.
    #[inline]
    pub(super) const fn record_arrival(&mut self) {
        self.last_arrival = self.now;
    }

    /// Begins the next tick and ends the wait of each call that is late. Its reply is still to come.
    ///
    /// Returns `false` if nothing has arrived during the whole time of a call. Frees the memory of a
    /// burst once all calls are over. Calls `on_late` for each call that is late now.
    pub(super) fn tick(&mut self, wakers: &mut Vec<Waker>, mut on_late: impl FnMut(u32)) -> bool {
        self.now = self.now.wrapping_add(1);
        let (now, max_ticks) = (self.now, self.max_ticks);
        let is_late = |tick| now.wrapping_sub(tick) > max_ticks;
        let mut index = self.oldest;
        while let Some(slot) = self.entries.get_mut(index as usize)
            && is_late(slot.started)
        {
            if is_late(self.last_arrival) {
                return false;
            }
            if slot.stage == Stage::Pending {
                slot.stage = Stage::TimedOut;
                wakers.extend(slot.waker.take());
                on_late(index);
            }
            index = slot.next;
        }
        if self.used == 0 {
            self.free_memory();
        }
        true
    }

    /// Returns the number of slots in use.
    pub(super) const fn len(&self) -> usize {
        self.used
    }
}

impl Slot {
    /// Appends a reply, or a part of it, to the buffer, unless the call has failed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    fn copy(&mut self, reply: &[u8], peer: &Peer) -> Result<(), Box<Failure>> {
        let no_memory = |_| Box::new(Failure::no_memory(peer, reply.len()));
        if let Ok(buffer) = &mut self.result {
            buffer.try_reserve(reply.len()).map_err(no_memory)?;
            buffer.extend_from_slice(reply);
        }
        Ok(())
    }
}

/// Returns the index of the slot after so many others. There is memory for fewer than `NONE`.
fn index_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    const LIMIT: u32 = 8;

    fn open(slots: &mut Slots, offset: u64) -> u32 {
        slots.insert(offset, Waker::noop().clone())
    }

    fn error() -> Error {
        Error::closed_before_reply(&Peer::unnamed())
    }

    fn reply(slots: &mut Slots, reply: &[u8], wakers: &mut Vec<Waker>) {
        if let Some(oldest) = slots.oldest() {
            slots.complete(oldest, Ok(reply), &Peer::unnamed(), wakers);
        }
    }

    fn tick(slots: &mut Slots, wakers: &mut Vec<Waker>) -> bool {
        slots.tick(wakers, |_| {})
    }

    fn taken(slots: &mut Slots, index: u32) -> Option<Vec<u8>> {
        let reply = slots.take_result(index, error)?.ok()?;
        Some(reply.0.clone())
    }

    #[test]
    fn slot_is_a_line_of_a_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn replies_are_found_in_any_order_and_slots_used_again() {
        let mut slots = Slots::new(LIMIT);
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut slots, 0), open(&mut slots, 1));
        assert!(taken(&mut slots, second).is_none());
        reply(&mut slots, b"1", &mut wakers);
        reply(&mut slots, b"2", &mut wakers);
        assert_eq!((wakers.len(), slots.len()), (2, 2));
        assert_eq!(taken(&mut slots, second), Some(b"2".to_vec()));
        let third = open(&mut slots, 2);
        assert_eq!(third, second);
        assert_eq!(taken(&mut slots, first), Some(b"1".to_vec()));
        assert!(taken(&mut slots, third).is_none());
        reply(&mut slots, b"3", &mut wakers);
        assert_eq!(taken(&mut slots, third), Some(b"3".to_vec()));
        assert_eq!(slots.len(), 0);
        assert!(tick(&mut slots, &mut wakers));
        assert_eq!(slots.entries.capacity(), 0);
        let again = open(&mut slots, 3);
        reply(&mut slots, b"4", &mut wakers);
        assert_eq!(taken(&mut slots, again), Some(b"4".to_vec()));
    }

    #[test]
    fn burst_leaves_no_memory_when_there_are_no_ticks() {
        let mut slots = Slots::new(0);
        let calls = [(); 65].map(|()| open(&mut slots, 0));
        for _ in calls {
            reply(&mut slots, b"1", &mut Vec::new());
        }
        for index in calls {
            assert_eq!(taken(&mut slots, index), Some(b"1".to_vec()));
        }
        assert_eq!(slots.entries.capacity(), 0);
        let index = open(&mut slots, 0);
        slots.abandon(index);
        reply(&mut slots, b"2", &mut Vec::new());
        assert_eq!((slots.len(), slots.entries.len()), (0, 1));
    }

    /// What the model knows of a call.
    #[derive(Clone, Debug)]
    struct Known {
        index: u32,
        offset: u64,
        made: u32,
        is_late: bool,
        is_abandoned: bool,
    }

    proptest! {
        /// The model has the calls in flight in a queue, and the replies to be collected in a list.
        #[test]
        fn slots_do_what_a_queue_does(steps in vec((0..8_u8, any::<u8>()), 0..200)) {
            let mut slots = Slots::new(1);
            let mut wakers = Vec::new();
            let mut now = 0;
            let mut in_flight: VecDeque<Known> = VecDeque::new();
            let mut settled: Vec<(u32, u8)> = Vec::new();
            for (offset, (step, byte)) in (0..).zip(steps) {
                let pick = |length: usize| (length > 0).then(|| usize::from(byte) % length);
                match step {
                    0 | 1 => in_flight.push_back(Known {
                        index: open(&mut slots, offset),
                        offset,
                        made: now,
                        is_late: false,
                        is_abandoned: false,
                    }),
                    2 => {
                        reply(&mut slots, &[byte], &mut wakers);
                        if let Some(known) = in_flight.pop_front()
                            && !known.is_abandoned
                        {
                            settled.push((known.index, byte));
                        }
                    }
                    // With ids, in any order.
                    7 => {
                        if let Some(at) = pick(in_flight.len())
                            && let Some(known) = in_flight.remove(at)
                        {
                            prop_assert_eq!(slots.with_id(known.index + 1), Some(known.index));
                            slots.complete(known.index, Ok(&[byte]), &Peer::unnamed(), &mut wakers);
                            if !known.is_abandoned {
                                settled.push((known.index, byte));
                            }
                            prop_assert_eq!(slots.with_id(known.index + 1), None);
                        }
                    }
                    3 => {
                        if let Some(at) = pick(settled.len()) {
                            let (index, byte) = settled.swap_remove(at);
                            prop_assert_eq!(taken(&mut slots, index), Some(vec![byte]));
                        }
                    }
                    4 => {
                        if let Some(at) = pick(settled.len()) {
                            slots.abandon(settled.swap_remove(at).0);
                        }
                    }
                    5 => {
                        if let Some(at) = pick(in_flight.len())
                            && !in_flight[at].is_abandoned
                        {
                            in_flight[at].is_abandoned = true;
                            slots.abandon(in_flight[at].index);
                        }
                    }
                    _ => {
                        now += 1;
                        slots.record_arrival();
                        prop_assert!(tick(&mut slots, &mut wakers));
                        for known in &mut in_flight {
                            known.is_late = now - known.made > 1;
                        }
                    }
                }
                prop_assert_eq!(slots.len(), in_flight.len() + settled.len());
                let oldest = in_flight.front().map(|known| known.offset);
                prop_assert_eq!(slots.oldest_offset(), oldest);
                for known in &mut in_flight {
                    if !known.is_abandoned && (!known.is_late || byte % 2 == 0) {
                        let result = slots.take_result(known.index, error);
                        prop_assert_eq!(result.map(|result| result.is_err()), known.is_late.then_some(true));
                        // Its caller is gone now.
                        known.is_abandoned = known.is_late;
                    }
                }
            }
        }
    }

    #[test]
    fn slot_of_an_abandoned_call_is_free_when_its_reply_came() {
        let mut slots = Slots::new(LIMIT);
        let (first, second) = (open(&mut slots, 0), open(&mut slots, 1));
        slots.abandon(first);
        assert_eq!(slots.len(), 2);
        reply(&mut slots, b"1", &mut Vec::new());
        assert_eq!(slots.len(), 1);
        reply(&mut slots, b"2", &mut Vec::new());
        slots.abandon(second);
        assert_eq!(slots.len(), 0);
    }

    #[test]
    fn large_reply_keeps_no_memory_in_its_slot() {
        let kept = |slots: &Slots| match &slots.entries[0].result {
            Ok(buffer) => buffer.capacity(),
            Err(_) => 0,
        };
        let mut slots = Slots::new(LIMIT);
        // The second call gets the spare buffer that the first has left.
        for is_abandoned in [false, false, true] {
            let index = open(&mut slots, 0);
            reply(&mut slots, &vec![0; 1 << 20], &mut Vec::new());
            if is_abandoned {
                slots.abandon(index);
            } else {
                taken(&mut slots, index).expect("a reply");
            }
            assert!(kept(&slots) <= 4 * 1024, "{}", kept(&slots));
        }
        let index = open(&mut slots, 0);
        slots.abandon(index);
        reply(&mut slots, &vec![0; 1 << 20], &mut Vec::new());
        assert_eq!((slots.len(), kept(&slots)), (0, 0));
    }

    #[test]
    fn late_call_ends_once_and_keeps_its_place() {
        let mut slots = Slots::new(LIMIT);
        let mut wakers = Vec::new();
        let (first, second) = (open(&mut slots, 0), open(&mut slots, 1));
        for _ in 0..LIMIT {
            assert!(tick(&mut slots, &mut wakers) && wakers.is_empty());
        }
        // With nothing from the server, the connection is given up instead.
        assert!(!tick(&mut slots, &mut wakers) && wakers.is_empty());
        slots.record_arrival();
        assert!(tick(&mut slots, &mut wakers));
        assert_eq!(wakers.len(), 2);
        assert!(matches!(slots.take_result(first, error), Some(Err(_))));
        reply(&mut slots, b"1", &mut wakers);
        // It came before its caller looked.
        reply(&mut slots, b"2", &mut wakers);
        assert_eq!(taken(&mut slots, second), Some(b"2".to_vec()));
        assert_eq!(slots.len(), 0);
    }

    #[test]
    fn late_call_that_is_abandoned_is_free_when_its_reply_came() {
        for is_late in [false, true] {
            let mut slots = Slots::new(LIMIT);
            let (first, second) = (open(&mut slots, 0), open(&mut slots, 1));
            if !is_late {
                slots.abandon(first);
            }
            for _ in 0..=LIMIT {
                slots.record_arrival();
                assert!(tick(&mut slots, &mut Vec::new()));
            }
            if is_late {
                slots.abandon(first);
            }
            assert!(slots.take_result(first, error).is_none());
            reply(&mut slots, b"1", &mut Vec::new());
            assert_eq!(slots.len(), 1);
            assert!(matches!(slots.take_result(second, error), Some(Err(_))));
        }
    }

    #[test]
    fn slot_of_a_failed_call_is_used_again() {
        let mut slots = Slots::new(LIMIT);
        let index = open(&mut slots, 0);
        slots.complete(
            index,
            Err(Failure::without_retry(error()).into()),
            &Peer::unnamed(),
            &mut Vec::new(),
        );
        assert!(matches!(slots.take_result(index, error), Some(Err(_))));
        let index = open(&mut slots, 1);
        reply(&mut slots, b"1", &mut Vec::new());
        assert_eq!(taken(&mut slots, index), Some(b"1".to_vec()));
        assert!(slots.oldest_offset().is_none() && slots.len() == 0);
    }
}
