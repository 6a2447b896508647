//! Futures that are polled side by side in one task, each only when it was woken.
//!
//! A slot keeps the memory of its future and its waker for the next one, so that a future of a busy connection costs no
//! allocation.

use std::{
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::panics::{Payload, poll_caught};

/// The futures of a connection.
pub(super) struct Slots<F> {
    all: Vec<Slot<F>>,
    /// The slots without a future.
    free: Vec<usize>,
    wakeups: Arc<Wakeups>,
}

struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    /// What the future is for, as [`insert`](Slots::insert) was told.
    number: u64,
    /// Wakes this slot, whichever future is in it.
    waker: Waker,
}

/// The slots that were woken, and the task that polls them.
#[derive(Default)]
struct Wakeups(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    /// Each once, unless two wakers were made for it.
    slots: Vec<usize>,
    /// Set while the task waits.
    task: Option<Waker>,
}

struct SlotWaker {
    position: usize,
    wakeups: Arc<Wakeups>,
}

impl Wakeups {
    /// Ignores poisoning, because no foreign code runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.wakeups.lock();
        // A future that is woken many times is polled once. The last one is compared, because few repeat others.
        if woken.slots.last() != Some(&self.position) {
            woken.slots.push(self.position);
        }
        let task = woken.task.take();
        // Wakers are foreign code, and run without the lock.
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future> Slots<F> {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            wakeups: Arc::default(),
        }
    }

    /// Puts a future into a slot, and returns the slot. It must be polled once; then it is woken.
    pub(super) fn insert(&mut self, future: F, number: u64) -> usize {
        let free = self.free.pop();
        if let Some(position) = free
            && let Some(slot) = self.all.get_mut(position)
        {
            slot.future.set(Some(future));
            slot.number = number;
            return position;
        }
        let position = self.all.len();
        let waker = SlotWaker {
            position,
            wakeups: Arc::clone(&self.wakeups),
        };
        self.all.push(Slot {
            future: Box::pin(Some(future)),
            number,
            waker: Arc::new(waker).into(),
        });
        position
    }

    /// Polls the future in a slot, and catches its panic. Returns `None` if there is none, or if it waits.
    ///
    /// The slot must then be [freed](Self::free).
    pub(super) fn poll(&mut self, position: usize) -> Option<Result<F::Output, Payload>> {
        let slot = self.all.get_mut(position)?;
        let future = slot.future.as_mut().as_pin_mut()?;
        let mut cx = Context::from_waker(&slot.waker);
        match poll_caught(future, &mut cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    /// Drops the future in a slot. Returns the payload of a panic of its drop.
    pub(super) fn free(&mut self, position: usize) -> Result<(), Payload> {
        let Some(slot) = self.all.get_mut(position) else {
            return Ok(());
        };
        self.free.push(position);
        let dropped = catch_unwind(AssertUnwindSafe(|| slot.future.set(None)));
        if dropped.is_err() {
            // What is left of it is not dropped again.
            slot.future = Box::pin(None);
        }
        dropped
    }

    /// Returns what the future in a slot is for.
    pub(super) fn number(&self, position: usize) -> Option<u64> {
        let slot = self.all.get(position)?;
        slot.future.is_some().then_some(slot.number)
    }

    /// Takes the slots that were woken.
    pub(super) fn take_woken(&mut self) -> Vec<usize> {
        take(&mut self.wakeups.lock().slots)
    }

    /// Wakes the task of `cx` when a slot is woken. Returns `false` if one was already.
    pub(super) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        let mut woken = self.wakeups.lock();
        woken.task = Some(cx.waker().clone());
        woken.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, panic::panic_any, sync::atomic::AtomicUsize};

    use super::*;

    /// Counts how often it is polled, and shows its waker.
    fn counter<'a>(
        polls: &'a AtomicUsize,
        waker: &'a Mutex<Option<Waker>>,
    ) -> impl Future<Output = ()> + 'a {
        poll_fn(|cx| {
            polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            *waker.lock().expect("no panic") = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    #[test]
    fn only_the_slot_that_was_woken_is_listed() {
        let (polls, waker) = (AtomicUsize::new(0), Mutex::default());
        let mut slots = Slots::new();
        for number in 0..3 {
            let position = slots.insert(counter(&polls, &waker), number);
            assert!(slots.poll(position).is_none());
        }
        let cx = Context::from_waker(Waker::noop());
        assert!(slots.sleep(&cx));
        let waker = waker.lock().expect("no panic").take().expect("polled");
        waker.wake_by_ref();
        waker.wake();
        assert!(!slots.sleep(&cx));
        assert_eq!(slots.take_woken(), [2]);
        assert!(slots.take_woken().is_empty());
    }

    #[test]
    fn memory_of_a_slot_is_used_again() {
        let mut slots = Slots::new();
        let first = slots.insert(std::future::ready(1), 7);
        assert_eq!(slots.number(first), Some(7));
        assert!(matches!(slots.poll(first), Some(Ok(1))));
        assert!(slots.free(first).is_ok());
        assert_eq!(slots.number(first), None);
        assert!(slots.poll(first).is_none());
        assert_eq!(slots.insert(std::future::ready(2), 8), first);
    }

    #[test]
    fn panics_of_futures_and_of_their_drops_are_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any("dropped");
            }
        }
        let mut slots = Slots::new();
        let position = slots.insert(
            async {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            },
            0,
        );
        assert!(slots.poll(position).is_none());
        assert!(slots.free(position).is_err());
        assert!(slots.free.contains(&position));
    }
}
