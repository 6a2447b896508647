//! The buffers of a connection, which it holds only while it needs them, and the memory that no
//! connection holds at the moment, kept by each thread.

#![expect(
    clippy::unnecessary_box_returns,
    reason = "the box is what is passed on"
)]

use std::{
    cell::RefCell,
    thread::{AccessError, LocalKey},
};

use super::{ReadAhead, ReadBuffer, WriteBuffer};

/// The buffers of a connection.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) read: ReadBuffer,
    pub(crate) ahead: ReadAhead,
    pub(crate) write: WriteBuffer,
}

/// The buffers of a connection, which it has only while there is something in them.
///
/// They stay in their slot while they are used, so that a panic or an early return loses nothing that is
/// unread or unsent. When the slot is dropped, their memory goes back to the pool.
#[derive(Debug)]
pub(crate) struct BufferSlot(Option<Box<Buffers>>);

impl BufferSlot {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Returns the buffers, taken from the pool if there are none.
    #[inline]
    pub(crate) fn checkout(&mut self) -> &mut Buffers {
        match self.0 {
            Some(ref mut buffers) => buffers,
            None => self.0.insert(take_buffers()),
        }
    }

    /// Reduces the memory of a connection that waits: buffers without content go back to the pool, and
    /// the beginning of a small frame moves to a small buffer.
    #[inline]
    pub(crate) fn release(&mut self) {
        if let Some(buffers) = self.0.take_if(|buffers| buffers.are_unused()) {
            give_buffers(buffers);
        } else if let Some(buffers) = &mut self.0 {
            buffers.park();
        }
    }
}

impl Drop for BufferSlot {
    fn drop(&mut self) {
        if let Some(mut buffers) = self.0.take() {
            buffers.read.reset();
            buffers.ahead = ReadAhead::new();
            buffers.write.clear();
            give_buffers(buffers);
        }
    }
}

impl Buffers {
    fn new() -> Self {
        Self {
            read: ReadBuffer::over(take()),
            ahead: ReadAhead::new(),
            write: WriteBuffer::over(take()),
        }
    }

    #[cold]
    fn park(&mut self) {
        if self.read.has_started() && self.write.is_empty() && self.read.park() {
            self.write.give_back();
        }
    }

    #[inline]
    fn are_unused(&self) -> bool {
        self.read.is_unused() && self.ahead.is_empty() && self.write.is_empty()
    }
}

/// The capacity of a new buffer: larger than the usual batch, smaller than a thread's cache.
pub(super) const NEW: usize = 16 * 1024;
/// A buffer that grew beyond this is freed, so that a burst of large frames leaves nothing behind.
const LARGEST: usize = 128 * 1024;

/// What a thread keeps of one kind.
pub(super) type Pool<T> = RefCell<Vec<T>>;

thread_local! {
    static SINGLE: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
    static TOGETHER: Pool<Box<Buffers>> = const { Pool::new(Vec::new()) };
}
/// A thread keeps this many single buffers: 2 MiB if none has grown.
const KEPT: usize = 128;
/// A thread keeps the buffers of this many connections: 2 MiB if none has grown.
const KEPT_TOGETHER: usize = 64;

#[inline]
fn take_buffers() -> Box<Buffers> {
    take_from(&TOGETHER).unwrap_or_else(|| Box::new(Buffers::new()))
}

/// Gives back buffers in which nothing is left.
#[inline]
fn give_buffers(mut buffers: Box<Buffers>) {
    buffers.read.forget_arrival();
    if buffers.read.is_usual() && buffers.write.is_usual() {
        give_to(&TOGETHER, KEPT_TOGETHER, buffers);
    }
}

/// Takes an empty buffer with capacity.
pub(super) fn take() -> Vec<u8> {
    take_from(&SINGLE).unwrap_or_else(|| Vec::with_capacity(NEW))
}

/// Gives a buffer back, and leaves an empty one without capacity.
pub(super) fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if is_usual(&buffer) {
        buffer.clear();
        give_to(&SINGLE, KEPT, buffer);
    }
}

/// Tells whether a buffer is large enough for a new connection, and not too large to be kept.
#[inline]
pub(super) fn is_usual(buffer: &Vec<u8>) -> bool {
    (NEW..=LARGEST).contains(&buffer.capacity())
}

/// Takes what was given back last.
#[inline]
pub(super) fn take_from<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
    // At the end of a thread the pool may be gone before the last connection.
    pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
}

/// Keeps `item`, unless there are `most` already.
#[inline]
pub(super) fn give_to<T>(pool: &'static LocalKey<Pool<T>>, most: usize, item: T) {
    // Without a pool it is freed.
    let _: Result<(), AccessError> = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < most {
            pool.push(item);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::Side;

    #[test]
    fn buffers_are_taken_again_unless_they_are_too_large() {
        let address = |buffer: &Vec<u8>| buffer.as_ptr().addr();
        let mut buffer = take();
        buffer.push(1);
        let usual = address(&buffer);
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        buffer = take();
        assert_eq!((address(&buffer), buffer.len()), (usual, 0));

        buffer.reserve_exact(LARGEST + 1);
        give(&mut buffer);
        assert_eq!(take().capacity(), NEW);
    }

    #[test]
    fn thread_keeps_so_many_buffers() {
        for _ in 0..2 * KEPT {
            give(&mut Vec::with_capacity(NEW));
        }
        assert_eq!(SINGLE.with_borrow(Vec::len), KEPT);
    }

    /// A slot whose connection has read `bytes` and waits.
    fn waiting(mut bytes: &[u8]) -> BufferSlot {
        let mut slot = BufferSlot::new();
        let buffers = slot.checkout();
        while !bytes.is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            let read = buffers.read.poll_read(&mut cx, &mut bytes);
            assert!(matches!(read, Poll::Ready(Ok(()))));
        }
        slot.release();
        slot
    }

    fn memory(slot: &BufferSlot) -> usize {
        let capacity = |held: &Buffers| held.read.capacity() + held.write.capacity();
        slot.0.as_deref().map_or(0, capacity)
    }

    fn unread(buffers: &Buffers) -> &[u8] {
        buffers.read.input(usize::MAX, Side::Server).bytes()
    }

    #[test]
    fn connection_that_waits_for_a_request_holds_no_buffers() {
        assert!(waiting(b"").0.is_none());
    }

    #[test]
    fn beginning_of_a_frame_is_kept_in_as_much_memory_as_it_needs() {
        for length in [1, 4, 256, 257, 1_000, NEW / 4] {
            let bytes = vec![b'x'; length];
            let mut slot = waiting(&bytes);
            assert!(memory(&slot) <= usize::max(256, 2 * length), "{length}");
            let buffers = slot.checkout();
            assert_eq!(unread(buffers), bytes);
            let mut cx = Context::from_waker(Waker::noop());
            let read = buffers.read.poll_read(&mut cx, &mut &b"y"[..]);
            assert!(read.is_ready());
            assert_eq!(unread(buffers), [&bytes[..], b"y"].concat());
            assert!(buffers.read.capacity() >= NEW);
        }
    }

    #[test]
    fn buffers_with_much_of_a_frame_or_with_unsent_replies_stay() {
        assert!(memory(&waiting(&[b'x'; NEW / 4 + 1])) >= 2 * NEW);
        let mut slot = BufferSlot::new();
        let mut framing = crate::Lines::default();
        let written = slot.checkout().write.message(&mut framing, 9, |out| {
            out.put(b"reply");
            Ok(())
        });
        assert!(written.is_ok());
        slot.release();
        assert_eq!(slot.checkout().write.waiting(), 6);
    }

    #[test]
    fn what_is_to_be_skipped_is_not_forgotten() {
        let mut slot = waiting(b"abc");
        slot.checkout().read.consume(&(0..0), 10);
        slot.release();
        let buffers = slot.checkout();
        assert_eq!(buffers.read.started(), 3);
        let mut cx = Context::from_waker(Waker::noop());
        let read = buffers.read.poll_read(&mut cx, &mut &b"defghij|"[..]);
        assert!(read.is_ready());
        assert_eq!(unread(buffers), b"|");
    }

    #[test]
    fn buffers_are_used_again() {
        let address = |slot: &mut BufferSlot| std::ptr::from_ref(slot.checkout()).addr();
        let mut slot = BufferSlot::new();
        let first = address(&mut slot);
        slot.release();
        assert!(slot.0.is_none());
        let mut other = BufferSlot::new();
        assert_eq!(address(&mut other), first);
        drop(other);
        assert_eq!(address(&mut slot), first);
    }
}
