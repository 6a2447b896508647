//! The calls of a connection that wait for their replies, oldest first.

use std::{collections::BTreeMap, iter::successors, mem, task::Waker};

use super::reply::take_spare;
use crate::{
    Error, Execution, Peer,
    buffer::Messages,
    framing::{FrameError, Framing, Notice},
};

/// The index of no slot.
const NONE: u32 = u32::MAX;
/// The most slots that are kept without ticks: they and their buffers take at most 260 KiB.
const MAX_IDLE_SLOTS: usize = 64;

/// The calls of a connection, each in a slot with an index.
///
/// A freed slot is reused with its buffer, so that a call allocates nothing. Two lists are linked
/// through the slots: the free slots, and the calls whose replies are still to come, in the order of their requests. A
/// call that is complete, but whose result was not taken, is in neither. Decision 014 says why this is not `slab` and a
/// queue of indices.
///
/// Without ids, the next reply is for the oldest call. The id of a call is the index of its slot plus 1, which is not
/// free before the reply has come.
#[derive(Debug)]
pub(super) struct PendingCalls {
    slots: Vec<Slot>,
    /// The first free slot.
    free: u32,
    /// The oldest call whose reply is still to come.
    oldest: u32,
    /// The newest call whose reply is still to come, if there is one.
    newest: u32,
    /// The number of slots in use.
    used: usize,
    /// The number of ticks that a call may take, or, without a limit, that a cancel may. Zero if there are no ticks.
    max_ticks: u32,
    /// Whether calls have a limit.
    is_limited: bool,
    /// The number of ticks so far.
    now: u32,
    /// The tick in which something arrived last.
    last_arrival: u32,
    /// The items of the streamed replies that were not taken, by the slots of their calls.
    pub(super) items: BTreeMap<u32, Messages>,
}

/// A call whose reply is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingCall {
    /// The index of its slot.
    pub(super) index: u32,
    /// The offset of its request in the bytes of all requests.
    pub(super) offset: u64,
}

/// Why a call has no reply.
#[derive(Debug)]
pub(super) struct FailedCall {
    pub(super) error: Error,
    /// The request without its frame, if it can be sent again.
    pub(super) request: Option<Vec<u8>>,
}

impl FailedCall {
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

/// The slot of a call. A slot fills one cache line, so that a call costs the same among many as among few.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    stage: Stage,
    /// The buffer that the reply is copied to, or why there is none. The buffer is empty until then, except for the parts
    /// of the reply that have come.
    result: Result<Vec<u8>, Box<FailedCall>>,
    waker: Option<Waker>,
    /// The offset of the request in the bytes of all requests.
    offset: u64,
    /// The tick in which the request was queued.
    started: u32,
    /// The next slot in the list.
    next: u32,
    /// The previous slot in the list of calls, with ids. Not read for the oldest call.
    previous: u32,
}

/// The state of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reply is still to come.
    Pending,
    /// The reply is still to come, but makes no difference. The result is an error, which the caller has not taken yet.
    Failed,
    /// The reply is still to come, and nobody waits for it.
    Abandoned,
    /// The result is there. The caller has not taken it yet, or the slot is free.
    Complete,
}

impl PendingCalls {
    /// Creates a list of calls that may take `max_ticks` ticks each, or, unless `is_limited`, any time.
    pub(super) fn new(max_ticks: u32, is_limited: bool) -> Self {
        Self {
            is_limited,
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            used: 0,
            max_ticks,
            now: 0,
            last_arrival: 0,
            items: BTreeMap::new(),
        }
    }

    /// Returns the id of the call that is added next.
    pub(super) fn next_id(&self) -> u32 {
        match self.free {
            NONE => index_of(self.slots.len()) + 1,
            free => free + 1,
        }
    }

    /// Returns the call with this id, if its reply is still to come.
    pub(super) fn with_id(&self, id: u32) -> Option<PendingCall> {
        self.at(id.checked_sub(1)?)
    }

    /// Returns the call in a slot, if its reply is still to come.
    pub(super) fn at(&self, index: u32) -> Option<PendingCall> {
        let slot = self.slots.get(index as usize)?;
        let offset = slot.offset;
        (slot.stage != Stage::Complete).then_some(PendingCall { index, offset })
    }

    /// Moves each request to where `new_offset` says, oldest first.
    #[cold]
    pub(super) fn move_each(&mut self, mut new_offset: impl FnMut(u64) -> u64) {
        let mut index = self.oldest;
        while let Some(slot) = self.slots.get_mut(index as usize) {
            slot.offset = new_offset(slot.offset);
            index = slot.next;
        }
    }

    /// Returns the slots of the calls whose replies are still to come, oldest first.
    fn in_order(&self) -> impl Iterator<Item = &Slot> {
        let slot_at = |index: u32| self.slots.get(index as usize);
        successors(slot_at(self.oldest), move |slot| slot_at(slot.next))
    }

    /// Adds a call whose request begins at `offset`. Returns the index of its slot.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn insert<F: Framing>(&mut self, offset: u64, waker: Option<Waker>) -> u32 {
        let (previous, now) = (self.newest, self.now);
        let index = match self.slots.get_mut(self.free as usize) {
            Some(slot) => {
                slot.stage = Stage::Pending;
                slot.waker = waker;
                slot.offset = offset;
                slot.started = now;
                if F::HAS_IDS {
                    slot.previous = previous;
                }
                mem::replace(&mut self.free, mem::replace(&mut slot.next, NONE))
            }
            None => self.add(offset, waker),
        };
        self.used += 1;
        if self.oldest == NONE {
            self.oldest = index;
        } else if let Some(newest) = self.slots.get_mut(previous as usize) {
            newest.next = index;
        }
        self.newest = index;
        index
    }

    #[cold]
    fn add(&mut self, offset: u64, waker: Option<Waker>) -> u32 {
        let index = index_of(self.slots.len());
        self.slots.push(Slot {
            stage: Stage::Pending,
            result: Ok(Vec::new()),
            waker,
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
    pub(super) fn take_result(&mut self, index: u32) -> Option<Result<Vec<u8>, Box<FailedCall>>> {
        let slot = self.slots.get_mut(index as usize)?;
        match slot.stage {
            Stage::Complete => {
                let result = mem::replace(&mut slot.result, Ok(take_spare()));
                self.release(index);
                Some(result)
            }
            Stage::Failed => {
                slot.stage = Stage::Abandoned;
                Some(mem::replace(&mut slot.result, Ok(Vec::new())))
            }
            Stage::Pending | Stage::Abandoned => None,
        }
    }

    /// Exchanges the waker of a call. Returns `false` if the call has a result or items, so that no wake follows.
    #[cold]
    pub(super) fn set_waker(&mut self, index: u32, waker: &mut Option<Waker>) -> bool {
        if self.items.get(&index).is_some_and(|it| !it.is_empty()) {
            return false;
        }
        match self.slots.get_mut(index as usize) {
            Some(slot) if slot.stage == Stage::Pending => {
                mem::swap(&mut slot.waker, waker);
                true
            }
            _ => false,
        }
    }

    /// Removes the caller of a call, whose reply is then dropped when it comes. Returns its waker.
    pub(super) fn abandon(&mut self, index: u32) -> Option<Waker> {
        self.items.remove(&index);
        let slot = self.slots.get_mut(index as usize)?;
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
    pub(super) fn oldest(&self) -> Option<PendingCall> {
        let slot = self.slots.get(self.oldest as usize)?;
        Some(PendingCall {
            index: self.oldest,
            offset: slot.offset,
        })
    }

    /// Completes a call with an error or with a copy of its reply, for which there may be no memory.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    pub(super) fn complete<F: Framing>(
        &mut self,
        index: u32,
        result: Result<&[u8], Box<FailedCall>>,
        peer: &Peer,
        wakers: &mut Vec<Waker>,
    ) {
        let Some(slot) = self.take::<F>(index, wakers) else {
            return;
        };
        if let Err(failure) = result.and_then(|reply| slot.copy(reply, peer)) {
            slot.set_failure(failure);
        }
    }

    /// Adds a part of the reply to a call, of at most `limit` bytes in all. Returns why it cannot be added.
    #[cold]
    pub(super) fn add_part(
        &mut self,
        index: u32,
        part: &[u8],
        limit: usize,
        peer: &Peer,
    ) -> Result<(), Box<FailedCall>> {
        // Parts for any other call are dropped: nobody waits for its reply.
        if let Some(slot) = self.slots.get_mut(index as usize)
            && slot.stage == Stage::Pending
            && let Ok(parts) = &slot.result
        {
            let length = parts.len() + part.len();
            if length > limit {
                return Err(
                    FailedCall::without_retry(Error::too_large(peer, length, limit)).into(),
                );
            }
            slot.copy(part, peer)?;
        }
        Ok(())
    }

    /// Returns `true` if a part of the reply to a call has come.
    pub(super) fn has_parts(&self, index: u32) -> bool {
        let slot = self.slots.get(index as usize);
        slot.is_some_and(|slot| slot.result.as_ref().is_ok_and(|parts| !parts.is_empty()))
    }

    /// Returns `true` if a streamed reply has not ended.
    #[cold]
    pub(super) fn has_streams(&self) -> bool {
        self.items.keys().any(|index| self.is_pending(*index))
    }

    /// Adds an item of a streamed reply. Returns `false` if there are more items than the client has given credit for.
    #[cold]
    pub(super) fn add_item(&mut self, index: u32, item: &[u8], wakers: &mut Vec<Waker>) -> bool {
        let Some(items) = self.items.get_mut(&index) else {
            return true;
        };
        if items.cost() >= Notice::INITIAL_CREDIT as usize {
            return false;
        }
        items.push(item);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.started = self.now;
            wakers.extend(slot.waker.take());
        }
        true
    }

    /// Exchanges the items that have come for those that were received. Returns `false` if none have come.
    pub(super) fn take_items(&mut self, index: u32, received: &mut Messages) -> bool {
        match self.items.get_mut(&index) {
            Some(items) if !items.is_empty() => {
                received.clear();
                mem::swap(items, received);
                true
            }
            _ => false,
        }
    }

    /// Returns `true` if the reply to a call is still to come in time.
    pub(super) fn is_pending(&self, index: u32) -> bool {
        let slot = self.slots.get(index as usize);
        slot.is_some_and(|slot| slot.stage == Stage::Pending)
    }

    /// Ends the wait of a call, whose reply is still to come. Returns `false` if nobody waits.
    #[cold]
    pub(super) fn end_wait(
        &mut self,
        index: u32,
        failure: Box<FailedCall>,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let slot = self.slots.get_mut(index as usize);
        let Some(slot) = slot.filter(|slot| slot.stage == Stage::Pending) else {
            return false;
        };
        slot.end_wait(failure, wakers);
        true
    }

    /// Removes a call from those whose replies are to come. Returns its slot, for the result, unless the call was
    /// abandoned.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    fn take<F: Framing>(&mut self, index: u32, wakers: &mut Vec<Waker>) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(index as usize)?;
        let is_abandoned = slot.stage == Stage::Abandoned;
        slot.stage = Stage::Complete;
        let (previous, next) = (slot.previous, slot.next);
        if !F::HAS_IDS || index == self.oldest {
            self.oldest = next;
        } else {
            self.join(previous, next);
        }
        if is_abandoned {
            self.release(index);
            return None;
        }
        // Borrowed again, because the borrow checker extends the first borrow to all paths.
        let slot = self.slots.get_mut(index as usize)?;
        if let Some(waker) = slot.waker.take() {
            wakers.push(waker);
        }
        Some(slot)
    }

    /// Joins two calls, between which one is removed.
    #[cold]
    fn join(&mut self, previous: u32, next: u32) {
        if let Some(slot) = self.slots.get_mut(previous as usize) {
            slot.next = next;
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => self.newest = previous,
        }
    }

    /// Adds a slot to the free ones.
    #[inline]
    fn release(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.next = self.free;
            self.free = index;
            self.used -= 1;
            if self.used == 0 && self.max_ticks == 0 && self.slots.len() > MAX_IDLE_SLOTS {
                // Without ticks, nothing else frees the memory.
                self.free_memory();
            }
        }
    }

    /// Frees the memory of a burst.
    #[cold]
    fn free_memory(&mut self) {
        self.slots = Vec::new();
        self.items.clear();
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
    /// burst once all calls are over. Calls `timed_out` for the error of each call that is late now.
    pub(super) fn tick(
        &mut self,
        wakers: &mut Vec<Waker>,
        mut timed_out: impl FnMut(u32) -> Error,
    ) -> bool {
        self.now = self.now.wrapping_add(1);
        let (now, max_ticks) = (self.now, self.max_ticks);
        let is_late = |tick| now.wrapping_sub(tick) > max_ticks;
        let mut index = if self.is_limited { self.oldest } else { NONE };
        // All calls are checked, because calls with items are not in the order of their times.
        while let Some(slot) = self.slots.get_mut(index as usize) {
            let was_pending = slot.stage == Stage::Pending;
            if was_pending && slot.waker.is_none() {
                // The caller has not waited yet, or has not taken all items. The next item has the time of a call for
                // itself.
                slot.started = now;
            }
            if is_late(slot.started) {
                if is_late(self.last_arrival) {
                    return false;
                }
                if was_pending {
                    slot.end_wait(FailedCall::without_retry(timed_out(index)).into(), wakers);
                }
            }
            index = slot.next;
        }
        if self.used == 0 {
            self.free_memory();
        }
        true
    }

    /// Records that the request of a call is cancelled. The server has the time of a call to answer the cancel.
    #[cold]
    pub(super) fn record_cancel(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.started = self.now;
        }
    }

    /// Returns how many requests were cancelled at least the time of a call ago, and have no reply. Only framings with ids
    /// have cancels.
    pub(super) fn overdue<F: Framing>(&self) -> usize {
        if !F::HAS_IDS {
            return 0;
        }
        self.in_order().filter(|slot| self.is_overdue(slot)).count()
    }

    /// Returns `true` if nobody waits for a reply, and all replies are late.
    pub(super) fn are_all_overdue(&self) -> bool {
        self.in_order().all(|slot| self.is_overdue(slot))
    }

    fn is_overdue(&self, slot: &Slot) -> bool {
        slot.stage != Stage::Pending && self.now.wrapping_sub(slot.started) > self.max_ticks
    }

    /// Returns the number of slots in use.
    pub(super) const fn len(&self) -> usize {
        self.used
    }
}

impl Slot {
    /// Ends the wait of the caller. The reply is still to come.
    #[cold]
    fn end_wait(&mut self, failure: Box<FailedCall>, wakers: &mut Vec<Waker>) {
        self.stage = Stage::Failed;
        self.set_failure(failure);
        wakers.extend(self.waker.take());
    }

    /// Sets why there is no reply. The first reason is kept.
    #[cold]
    fn set_failure(&mut self, failure: Box<FailedCall>) {
        if self.result.is_ok() {
            self.result = Err(failure);
        }
    }

    /// Appends a reply, or a part of it, to the buffer, unless the call has failed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every call runs it (decision 014)")]
    fn copy(&mut self, reply: &[u8], peer: &Peer) -> Result<(), Box<FailedCall>> {
        let no_memory = |_| Box::new(FailedCall::no_memory(peer, reply.len()));
        if let Ok(buffer) = &mut self.result {
            buffer.try_reserve(reply.len()).map_err(no_memory)?;
            buffer.extend_from_slice(reply);
        }
        Ok(())
    }
}

/// Returns the index of the slot after this many others. There is memory for fewer than `NONE`.
fn index_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}

#[cfg(test)]
mod tests;
