//! Futures that run concurrently in one task. Each is polled only when it was woken.
//!
//! A slot is named by its index. Its memory and its waker are reused for the next future.

use std::{
    collections::VecDeque,
    mem::{replace, swap},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use super::request::ActiveRequest;
use crate::{
    ConnectionInfo,
    deadline::with_inherited,
    panics::{Payload, lock, poll_caught, wake_all},
    sync::Mutex,
};

/// The functions of a connection that run, and the outcomes of those that have ended.
pub(super) struct Slots<F: Future> {
    all: Vec<Slot<F>>,
    free: Vec<usize>,
    running: usize,
    wakeups: Arc<Mutex<Woken>>,
    /// The slots that were woken and are to be polled.
    woken: VecDeque<usize>,
}

struct Slot<F: Future> {
    /// What the function has returned, until its request is answered.
    outcome: Option<F::Output>,
    /// The future that runs, if one does. Boxed, because a pinned future cannot move when the list of slots grows. The memory
    /// is reused.
    future: Pin<Box<Option<F>>>,
    request: ActiveRequest,
    /// Wakes this slot, whichever future is in it.
    waker: Waker,
}

/// The slots that were woken, and the task that polls them. No user code runs under its lock.
#[derive(Default)]
struct Woken {
    slots: VecDeque<usize>,
    /// Whether each slot is among `slots`. A slot that is woken many times is polled once.
    flags: Vec<bool>,
    /// Set while the task waits.
    task: Option<Waker>,
}

struct SlotWaker {
    index: usize,
    wakeups: Arc<Mutex<Woken>>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = lock(&self.wakeups);
        let is_woken = woken.flags.get_mut(self.index);
        if is_woken.is_some_and(|is_woken| !replace(is_woken, true)) {
            woken.slots.push_back(self.index);
        }
        let task = woken.task.take();
        // Wakers may be user code, and run without the lock. `wake_all` catches their panics.
        drop(woken);
        wake_all(task);
    }
}

impl<F: Future> Slots<F> {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            running: 0,
            wakeups: Arc::default(),
            woken: VecDeque::new(),
        }
    }

    /// Returns the number of slots that are in use.
    pub(super) fn in_use(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Returns the number of functions that run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Returns the indices of all slots.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> + use<F> {
        0..self.all.len()
    }

    /// Returns the indices of the slots whose requests are not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = usize> {
        let slots = self.all.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.future.is_some() || slot.outcome.is_some())
            .map(|(index, _)| index)
    }

    /// Returns a slot that is not in use, and marks it as used.
    pub(super) fn open(&mut self, info: &ConnectionInfo) -> usize {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = self.all.len();
        let wakeups = Arc::clone(&self.wakeups);
        lock(&wakeups).flags.push(false);
        self.all.push(Slot {
            outcome: None,
            future: Box::pin(None),
            request: ActiveRequest::new(info),
            waker: Arc::new(SlotWaker { index, wakeups }).into(),
        });
        index
    }

    /// Puts a function into a slot without one. The caller must poll it once; then it is woken.
    pub(super) fn start(&mut self, index: usize, function: F) {
        if let Some(slot) = self.all.get_mut(index) {
            slot.future.set(Some(function));
            self.running += 1;
        }
    }

    /// Returns the request in a slot.
    pub(super) fn request(&self, index: usize) -> Option<&ActiveRequest> {
        self.all.get(index).map(|slot| &slot.request)
    }

    /// Returns the request in a slot.
    pub(super) fn request_mut(&mut self, index: usize) -> Option<&mut ActiveRequest> {
        self.all.get_mut(index).map(|slot| &mut slot.request)
    }

    /// Returns `true` if the function in a slot runs.
    pub(super) fn is_running(&self, index: usize) -> bool {
        let slot = self.all.get(index);
        slot.is_some_and(|slot| slot.future.is_some())
    }

    /// Returns the slot of the request with an id.
    pub(super) fn find(&self, id: u32) -> Option<usize> {
        self.unanswered()
            .find(|slot| self.request(*slot).is_some_and(|request| request.id == id))
    }

    /// Polls the function in a slot, and drops it when it has ended. Returns the payload of a panic as an error.
    pub(super) fn poll(&mut self, index: usize) -> Option<Result<F::Output, Payload>> {
        let slot = self.all.get_mut(index)?;
        let function = slot.future.as_mut().as_pin_mut()?;
        let mut cx = Context::from_waker(&slot.waker);
        let polled = with_inherited(slot.request.inherited, || poll_caught(function, &mut cx));
        let Poll::Ready(output) = polled else {
            return None;
        };
        // A panic of its drop is answered as well.
        Some(self.drop_future(index).and(output))
    }

    /// Drops the function in a slot, if one runs. Returns the payload of a panic of its drop.
    pub(super) fn drop_future(&mut self, index: usize) -> Result<(), Payload> {
        let slot = self.all.get_mut(index);
        let Some(slot) = slot.filter(|slot| slot.future.is_some()) else {
            return Ok(());
        };
        self.running -= 1;
        let dropped = catch_unwind(AssertUnwindSafe(|| slot.future.set(None)));
        if dropped.is_err() {
            // The rest of the function is not dropped again.
            slot.future = Box::pin(None);
        }
        dropped
    }

    /// Records the outcome of a slot without a function.
    pub(super) fn set_outcome(&mut self, index: usize, outcome: F::Output) {
        if let Some(slot) = self.all.get_mut(index) {
            slot.outcome = Some(outcome);
        }
    }

    /// Returns the outcome of a slot, if there is one.
    pub(super) fn outcome(&self, index: usize) -> Option<&F::Output> {
        self.all.get(index)?.outcome.as_ref()
    }

    /// Takes the outcome of a slot.
    pub(super) fn take_outcome(&mut self, index: usize) -> Option<F::Output> {
        self.all.get_mut(index)?.outcome.take()
    }

    /// Records that a slot is not in use any more.
    pub(super) fn release(&mut self, index: usize) {
        self.free.push(index);
    }

    /// Collects the slots that were woken, if all slots of the last collection were polled.
    pub(super) fn collect_woken(&mut self) {
        if !self.woken.is_empty() {
            return;
        }
        let mut wakeups = lock(&self.wakeups);
        swap(&mut wakeups.slots, &mut self.woken);
        for slot in &self.woken {
            if let Some(is_woken) = wakeups.flags.get_mut(*slot) {
                *is_woken = false;
            }
        }
    }

    /// Returns `true` if slots that were collected are not polled yet.
    pub(super) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Takes the next collected slot to poll.
    pub(super) fn next_woken(&mut self) -> Option<usize> {
        self.woken.pop_front()
    }

    /// Wakes the task of `cx` when a slot is woken. Returns `false` if a slot was woken already. All collected slots must
    /// have been polled.
    pub(super) fn sleep(&mut self, cx: &Context<'_>) -> bool {
        let task = cx.waker().clone();
        let mut woken = lock(&self.wakeups);
        let before = woken.task.replace(task);
        let is_first = woken.slots.is_empty();
        // Wakers may be user code, also when they are cloned or dropped.
        drop(woken);
        drop(before);
        is_first
    }
}

impl<F: Future> Drop for Slots<F> {
    /// Functions may have left wakers somewhere, which must not keep the memory of the task.
    fn drop(&mut self) {
        let task = lock(&self.wakeups).task.take();
        drop(task);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Pending, pending, poll_fn, ready},
        panic::panic_any,
    };

    use super::*;
    use crate::Peer;

    fn start<F: Future>(slots: &mut Slots<F>, future: F) -> usize {
        let index = slots.open(&ConnectionInfo::new(Peer::unnamed()));
        slots.start(index, future);
        index
    }

    #[test]
    fn only_slots_that_were_woken_are_listed() {
        let wakers = Mutex::new(Vec::new());
        let mut slots = Slots::new();
        for _ in 0..3 {
            let future = poll_fn(|cx| {
                wakers.lock().expect("no panic").push(cx.waker().clone());
                Poll::<()>::Pending
            });
            let index = start(&mut slots, future);
            assert!(slots.poll(index).is_none());
        }
        let cx = Context::from_waker(Waker::noop());
        assert!(slots.sleep(&cx));
        let wakers = wakers.lock().expect("no panic").clone();
        for _ in 0..2 {
            for slot in [2, 0, 2, 0] {
                wakers[slot].wake_by_ref();
            }
            assert!(!slots.sleep(&cx));
            slots.collect_woken();
            let first = slots.next_woken();
            // Slots are collected again when all of the last collection were taken.
            slots.collect_woken();
            assert_eq!(
                [first, slots.next_woken()],
                [2, 0].map(Some),
                "each once, although they were woken alternately"
            );
            assert!(!slots.has_woken());
        }
        slots.collect_woken();
        assert!(!slots.has_woken());
    }

    #[test]
    fn waker_of_the_task_is_dropped_without_the_lock() {
        struct Task(Arc<Mutex<Woken>>);
        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Task {
            fn drop(&mut self) {
                assert!(self.0.try_lock().is_ok(), "the lock is held");
            }
        }
        let mut slots = Slots::<Pending<()>>::new();
        for _ in 0..2 {
            let task = Waker::from(Arc::new(Task(Arc::clone(&slots.wakeups))));
            assert!(slots.sleep(&Context::from_waker(&task)));
        }
    }

    #[test]
    fn waker_of_the_task_that_panics_does_so_in_no_function() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("on purpose");
            }
        }
        let mut slots = Slots::new();
        let index = start(&mut slots, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let Some(Ok(left)) = slots.poll(index) else {
            panic!("it is ready");
        };
        assert!(slots.sleep(&Context::from_waker(&Waker::from(Arc::new(Bomb)))));
        left.wake();
        slots.collect_woken();
        assert_eq!(slots.next_woken(), Some(index));
    }

    #[test]
    fn waker_of_a_slot_does_not_keep_the_task() {
        struct Task;
        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let task = Arc::new(Task);
        let mut slots = Slots::new();
        let index = start(&mut slots, poll_fn(|cx| Poll::Ready(cx.waker().clone())));
        let Some(Ok(left)) = slots.poll(index) else {
            panic!("it is ready");
        };
        assert!(slots.sleep(&Context::from_waker(&Waker::from(Arc::clone(&task)))));
        drop(slots);
        assert_eq!(Arc::strong_count(&task), 1);
        left.wake();
    }

    #[test]
    fn memory_of_a_slot_is_used_again() {
        let mut slots = Slots::new();
        let first = start(&mut slots, ready(1));
        assert_eq!((slots.in_use(), slots.running()), (1, 1));
        assert!(matches!(slots.poll(first), Some(Ok(1))));
        assert!(slots.poll(first).is_none() && slots.take_outcome(first).is_none());
        slots.set_outcome(first, 1);
        assert_eq!((slots.in_use(), slots.running()), (1, 0));
        assert_eq!(slots.take_outcome(first), Some(1));
        slots.release(first);
        assert_eq!(start(&mut slots, ready(2)), first);
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
        let index = start(&mut slots, async {
            let _bomb = Bomb;
            pending::<()>().await;
        });
        assert!(slots.poll(index).is_none());
        assert!(slots.drop_future(index).is_err());
        assert!(slots.drop_future(index).is_ok());
        assert_eq!(slots.running(), 0);
    }
}
