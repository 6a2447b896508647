//! The memory budget of a server, for buffers that are too large for the pool.
//!
//! A buffer of at most 128 KiB needs no reservation. A larger one first reserves memory for its whole frame, once. If it
//! reserved each time that it grows, several large frames could wait for each other.
//!
//! A connection without a complete request is a newcomer. All newcomers together reserve at most half of the budget,
//! unless one message alone is longer, so that they do not hold up the other connections.
//!
//! A queue of events reserves memory as it grows. Events that do not fit are rejected, so no queue waits for another.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::LARGEST;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of one permit.
const PAGE: usize = 4096;

/// The bytes that all large buffers of a server share. First come, first served.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    pages: Arc<Semaphore>,
    /// Half as many permits as `pages`. A newcomer has one for each of its pages.
    newcomers: Arc<Semaphore>,
    /// Extra memory, a quarter of the budget, for buffers that have grown before they could reserve.
    overdraft: Arc<Semaphore>,
    total: u32,
    /// How many buffers wait for pages.
    waiting: AtomicUsize,
    /// How many newcomers wait for a share of their half. Only the memory of newcomers helps them.
    waiting_newcomers: AtomicUsize,
}

/// A newcomer's share of the newcomers' half, which it takes before it reserves as much memory.
#[derive(Debug)]
pub(crate) struct NewcomerShare(OwnedSemaphorePermit);

/// Memory that is reserved for a buffer, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    pages: OwnedSemaphorePermit,
    /// The share of a newcomer, or no permits.
    newcomer: OwnedSemaphorePermit,
    /// The pages beyond the budget.
    overdraft: OwnedSemaphorePermit,
}

impl Reservation {
    /// Adds memory of the same budget to what is reserved, if anything is.
    pub(super) fn merge(reserved: &mut Option<Self>, more: Self) {
        match reserved {
            Some(reserved) => {
                reserved.pages.merge(more.pages);
                reserved.newcomer.merge(more.newcomer);
                reserved.overdraft.merge(more.overdraft);
            }
            None => *reserved = Some(more),
        }
    }

    /// Returns `true` if a part of the memory is beyond the budget.
    pub(super) fn is_overdraft(&self) -> bool {
        self.overdraft.num_permits() > 0
    }

    /// Returns how many bytes a queue with this reservation may have.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.pages.num_permits() * PAGE
    }

    /// Splits off the pages that a queue of this many bytes does not need, if there are any.
    pub(crate) fn split_off(&mut self, bytes: usize) -> Option<Self> {
        let spare = self.queue_bytes().saturating_sub(bytes) / PAGE;
        if spare == 0 {
            return None;
        }
        Some(Self {
            pages: self.pages.split(spare)?,
            newcomer: self.newcomer.split(0)?,
            overdraft: self.overdraft.split(0)?,
        })
    }
}

/// Neither the budget nor the overdraft has enough memory.
#[derive(Debug)]
pub(crate) struct OverBudget;

impl MemoryBudget {
    /// The bytes that a buffer or a queue may have without a reservation.
    pub(crate) const UNRESERVED: usize = LARGEST;

    /// Creates a budget of this many bytes.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        // Semaphores of tokio count permits in `u32` for one acquire, so a permit is a page and not a byte.
        let total = u32::try_from(bytes / PAGE).unwrap_or(u32::MAX).max(2);
        let semaphore = |pages: u32| {
            let pages = usize::try_from(pages).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(pages.min(Semaphore::MAX_PERMITS)))
        };
        Arc::new(Self {
            pages: semaphore(total),
            newcomers: semaphore(total / 2),
            overdraft: semaphore(total / 4),
            total,
            waiting: AtomicUsize::new(0),
            waiting_newcomers: AtomicUsize::new(0),
        })
    }

    /// Takes a newcomer's share of the newcomers' half, after those who have waited longer. Other connections ask for 0
    /// bytes.
    ///
    /// This is a step before [`reserve`](Self::reserve) and not a part of it, because each of the two waits wakes the
    /// connections whose memory would end it: the first wakes newcomers, the second all connections.
    ///
    /// Cancel safe.
    pub(crate) async fn newcomer_share(&self, bytes: usize) -> NewcomerShare {
        let share = self.pages_for(bytes).min(self.total / 2);
        NewcomerShare(acquire(&self.newcomers, share, &self.waiting_newcomers).await)
    }

    /// Reserves memory, after those who have waited longer. A request for more than the budget waits for all of it.
    ///
    /// Cancel safe.
    pub(crate) async fn reserve(&self, bytes: usize, share: NewcomerShare) -> Reservation {
        Reservation {
            // The share is taken before the pages. In the other order, newcomers would hold pages while they wait
            // for their half, and others would wait for them.
            pages: acquire(&self.pages, self.pages_for(bytes), &self.waiting).await,
            newcomer: share.0,
            overdraft: acquire(&self.overdraft, 0, &self.waiting).await,
        }
    }

    /// Reserves memory, if that is possible without a wait.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.try_acquire(self.pages_for(bytes), 0)
    }

    /// Reserves memory for a buffer of this many bytes that exists already, or only the part that is missing in
    /// `reserved`. If the budget has too little, the buffer takes the overdraft. A buffer that the pool keeps needs nothing.
    #[cold]
    pub(crate) fn reserve_existing(
        &self,
        bytes: usize,
        reserved: &mut Option<Reservation>,
    ) -> Result<(), OverBudget> {
        if bytes <= Self::UNRESERVED {
            return Ok(());
        }
        // This never waits, because a wait would free nothing: the buffer exists already, and a peer that does not read
        // keeps it.
        let earlier = reserved.as_ref().map_or(0, |reserved| {
            reserved.pages.num_permits() + reserved.overdraft.num_permits()
        });
        let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
        let missing = self.pages_for(bytes).saturating_sub(earlier);
        let more = self
            .try_acquire(missing, 0)
            .or_else(|| self.try_acquire(0, missing))
            .ok_or(OverBudget)?;
        Reservation::merge(reserved, more);
        Ok(())
    }

    /// Reserves memory for a queue of this many bytes, or only the part that is missing in `reserved`. Returns `false`
    /// if there is not enough: a queue can reject events that do not fit, so it neither waits nor exceeds the budget.
    pub(crate) fn reserve_queue(&self, bytes: usize, reserved: &mut Option<Reservation>) -> bool {
        let earlier = reserved.as_ref().map_or(0, Reservation::queue_bytes);
        if bytes <= earlier.max(Self::UNRESERVED) {
            return true;
        }
        let missing = u32::try_from((bytes - earlier).div_ceil(PAGE)).unwrap_or(u32::MAX);
        let Some(more) = self.try_acquire(missing, 0) else {
            return false;
        };
        Reservation::merge(reserved, more);
        true
    }

    fn try_acquire(&self, pages: u32, overdraft: u32) -> Option<Reservation> {
        let try_acquire =
            |from: &Arc<Semaphore>, count| Arc::clone(from).try_acquire_many_owned(count).ok();
        Some(Reservation {
            pages: try_acquire(&self.pages, pages)?,
            newcomer: try_acquire(&self.newcomers, 0)?,
            overdraft: try_acquire(&self.overdraft, overdraft)?,
        })
    }

    /// Returns how many bytes are reserved.
    #[cfg(any(feature = "metrics", feature = "testing"))]
    pub(crate) fn reserved_bytes(&self) -> u64 {
        let free = self.pages.available_permits() + self.overdraft.available_permits();
        let pages = (self.total as usize + self.total as usize / 4).saturating_sub(free);
        (pages * PAGE) as u64
    }

    /// Returns `true` if a buffer waits for memory that is in `reserved`.
    pub(super) fn is_contended(&self, reserved: &Reservation) -> bool {
        let is_newcomer = reserved.newcomer.num_permits() > 0;
        self.waiting.load(Ordering::Relaxed) > 0
            || is_newcomer && self.waiting_newcomers.load(Ordering::Relaxed) > 0
    }

    fn pages_for(&self, bytes: usize) -> u32 {
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
        // A message beyond the budget takes all of it. Otherwise, the message would wait for pages that do not exist.
        pages.min(self.total)
    }
}

/// Takes permits, and counts the buffer among those that wait until it has them.
#[expect(clippy::expect_used, reason = "no semaphore here is ever closed")]
async fn acquire(
    semaphore: &Arc<Semaphore>,
    count: u32,
    waiting: &AtomicUsize,
) -> OwnedSemaphorePermit {
    // The buffer counts before the first poll, so the count is never below the number of waiting buffers.
    waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(waiting);
    let acquired = Arc::clone(semaphore).acquire_many_owned(count).await;
    acquired.expect("it is not closed")
}

/// Counts a buffer that waits, until this value is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod models;

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    const MIB: usize = 1 << 20;

    async fn reserve(budget: &MemoryBudget, bytes: usize, is_newcomer: bool) -> Reservation {
        let share = budget.newcomer_share(if is_newcomer { bytes } else { 0 });
        let share = share.await;
        budget.reserve(bytes, share).await
    }

    fn is_ready(reserving: impl Future<Output = Reservation>) -> Option<Reservation> {
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(reserving).poll(&mut cx) {
            std::task::Poll::Ready(reserved) => Some(reserved),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn newcomers_get_half_and_others_all() {
        let budget = MemoryBudget::new(4 * MIB);
        let newcomer = is_ready(reserve(&budget, 2 * MIB, true)).expect("it is half");
        assert!(is_ready(reserve(&budget, 1, true)).is_none());
        let other = is_ready(reserve(&budget, 2 * MIB, false)).expect("it is the rest");
        assert!(budget.try_reserve(1).is_none());
        drop(newcomer);
        assert!(budget.try_reserve(2 * MIB).is_some());
        drop(other);
        // More than there is waits for all of it, and no longer.
        let all = is_ready(reserve(&budget, 100 * MIB, true)).expect("nobody has any");
        assert!(budget.try_reserve(1).is_none());
        drop(all);
        assert!(is_ready(reserve(&budget, 2 * MIB, true)).is_some());
    }

    #[test]
    fn first_to_come_is_the_first_to_be_served() {
        let budget = MemoryBudget::new(4 * MIB);
        let held = budget.try_reserve(3 * MIB).expect("it is free");
        let other = budget.try_reserve(MIB / 2).expect("it is free");
        assert!(!budget.is_contended(&other));
        let mut cx = Context::from_waker(Waker::noop());
        let mut large = pin!(reserve(&budget, 3 * MIB, false));
        assert!(large.as_mut().poll(&mut cx).is_pending());
        assert!(budget.is_contended(&other));
        // There would be room for this one.
        let mut small = pin!(reserve(&budget, MIB / 2, false));
        assert!(small.as_mut().poll(&mut cx).is_pending());
        drop(held);
        assert!(large.as_mut().poll(&mut cx).is_ready());
        assert!(small.as_mut().poll(&mut cx).is_ready());
        assert!(!budget.is_contended(&other));
    }

    #[test]
    fn one_that_gives_up_waiting_waits_no_more() {
        let budget = MemoryBudget::new(4 * MIB);
        let held = budget.try_reserve(4 * MIB).expect("it is free");
        assert!(is_ready(reserve(&budget, MIB, true)).is_none());
        assert!(!budget.is_contended(&held));
        drop(held);
        assert!(budget.try_reserve(4 * MIB).is_some());
    }

    #[test]
    fn newcomer_that_waits_for_the_half_needs_the_memory_of_newcomers() {
        let budget = MemoryBudget::new(4 * MIB);
        let newcomer = is_ready(reserve(&budget, 2 * MIB, true)).expect("it is half");
        let known = budget.try_reserve(MIB + PAGE).expect("it is free");
        let mut cx = Context::from_waker(Waker::noop());
        let mut second = pin!(reserve(&budget, MIB, true));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(budget.is_contended(&newcomer));
        assert!(!budget.is_contended(&known));
        // Now it waits for memory that anybody may have.
        let other = budget.try_reserve(MIB - PAGE).expect("it is the rest");
        drop(newcomer);
        let more = budget.try_reserve(MIB + PAGE).expect("nobody waits for it");
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(budget.is_contended(&known));
        drop((other, more));
        assert!(second.as_mut().poll(&mut cx).is_ready());
        assert!(!budget.is_contended(&known));
    }

    #[test]
    fn replies_reserve_what_is_missing_and_may_exceed_the_budget() {
        let budget = MemoryBudget::new(4 * MIB);
        let mut reserved = None;
        for mib in [1, 3, 2, 4, 9] {
            let result = budget.reserve_existing(mib * MIB, &mut reserved);
            assert!(result.is_ok(), "{mib}");
            let reserved = reserved.as_ref().expect("it is reserved");
            assert!(!reserved.is_overdraft(), "{mib}");
        }
        let mut other = None;
        assert!(budget.reserve_existing(MIB / 2, &mut other).is_ok());
        assert!(budget.reserve_existing(2 * MIB, &mut other).is_err());
        assert!(other.take().is_some_and(|other| other.is_overdraft()));
        drop(reserved);
        assert!(budget.try_reserve(4 * MIB).is_some());
    }

    #[test]
    fn queue_reserves_what_it_has_and_never_more_than_the_budget() {
        let budget = MemoryBudget::new(MIB);
        let mut queue = None;
        assert!(budget.reserve_queue(MemoryBudget::UNRESERVED, &mut queue));
        assert!(queue.is_none());
        for (bytes, is_reserved) in [(MIB / 2, true), (MIB, true), (MIB + 1, false)] {
            assert_eq!(budget.reserve_queue(bytes, &mut queue), is_reserved);
        }
        let mut reserved = queue.expect("it is reserved");
        assert!(reserved.split_off(MIB - PAGE + 1).is_none());
        assert!(budget.try_reserve(1).is_none());
        drop(reserved.split_off(MIB / 4));
        assert_eq!(reserved.queue_bytes(), MIB / 4);
        assert!(budget.try_reserve(MIB - MIB / 4).is_some());
        drop(reserved);
        assert!(budget.try_reserve(MIB).is_some());
    }
}
