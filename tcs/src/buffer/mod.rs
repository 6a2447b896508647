//! The buffers of a connection: received bytes that are not consumed, and frames that are not sent.
//!
//! ```text
//!           ┌─► ReadBuffer ─► Frames ─► framing, format ─► the function
//! stream ───┤       ▲
//!           └─► ReadAhead: while a function borrows from the ReadBuffer
//!
//! stream ◄───── WriteBuffer ◄─ framing, format ◄────────── its reply
//!
//! pool: the memory of empty buffers of at most 128 KiB
//! MemoryBudget: the memory that larger ones reserve
//! ```
//!
//! A connection that waits for a request needs no buffers, and most connections wait most of the time. So each thread
//! has a pool of unused buffers. A connection takes buffers when it reads ([`BufferSlot::checkout`]), and returns them
//! when it waits and they are empty ([`BufferSlot::release`]).
//!
//! To *consume* is to take bytes off, to *clear* to drop them, and to *release* to give memory back, to the pool or to the
//! budget.

mod ahead;
mod frames;
mod memory;
mod messages;
mod pool;
mod read;
mod write;

pub(crate) use ahead::ReadAhead;
pub(crate) use frames::{Arrival, Frames};
pub(crate) use memory::{MemoryBudget, OverBudget, Reservation};
pub(crate) use messages::Messages;
pub(crate) use pool::MessageBytes;
pub(crate) use read::{OwnedMessage, ReadBuffer, ReadError};
pub(crate) use write::{EncodedMessage, WriteBuffer};

use pool::{Pool, is_poolable};

/// The buffers of a connection of a server.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) read: ReadBuffer,
    pub(crate) ahead: ReadAhead,
    pub(crate) write: WriteBuffer,
}

/// The buffers of a connection, held only while they are not empty.
///
/// The buffers stay in the slot during use, so that a panic or an early return loses no unread or unsent bytes.
/// Dropping the slot returns their memory to the pool.
#[derive(Debug)]
pub(crate) struct BufferSlot(Option<Box<Buffers>>);

impl BufferSlot {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Returns `true` if there are bytes to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|buffers| !buffers.write.is_empty())
    }

    /// Returns `true` if the buffers are in the pool.
    #[cfg(test)]
    pub(crate) const fn is_released(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the buffers. Takes them from the pool if the slot is empty.
    #[inline]
    pub(crate) fn checkout(&mut self) -> &mut Buffers {
        match self.0 {
            Some(ref mut buffers) => buffers,
            None => self.0.insert(get_buffers()),
        }
    }

    /// Drops the received bytes. Returns their number.
    pub(crate) fn clear_received(&mut self) -> usize {
        let Buffers { read, ahead, .. } = self.checkout();
        let dropped = read.unread_len() + ahead.len();
        read.clear();
        *ahead = ReadAhead::default();
        self.release();
        dropped
    }

    /// Reduces the memory of a waiting connection: empty buffers return to the pool, and the beginning
    /// of a frame that fills at most a quarter of its buffer moves to a smaller one.
    #[inline]
    pub(crate) fn release(&mut self) {
        if let Some(buffers) = self.0.take_if(|buffers| buffers.are_unused()) {
            put_buffers(buffers);
        } else if let Some(buffers) = &mut self.0 {
            buffers.read.compact();
            buffers.write.release();
        }
    }
}

impl Drop for BufferSlot {
    fn drop(&mut self) {
        if let Some(mut buffers) = self.0.take() {
            buffers.ahead = ReadAhead::default();
            buffers.write.clear();
            put_buffers(buffers);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            read: ReadBuffer::within_budget(),
            ahead: ReadAhead::default(),
            write: WriteBuffer::default(),
        }
    }
}

impl Buffers {
    #[inline]
    fn are_unused(&self) -> bool {
        !self.read.has_started()
            && !self.read.has_ended()
            && self.ahead.is_unused()
            && self.write.is_empty()
    }
}

thread_local! {
    static UNUSED_BUFFERS: Pool<Box<Buffers>> = const { Pool::new(Vec::new()) };
}

/// Takes empty buffers from the pool. Out of line, so that `checkout` is inlined.
#[inline(never)]
fn get_buffers() -> Box<Buffers> {
    // New buffers get their memory from the pool of single buffers when they need it.
    pool::get_from(&UNUSED_BUFFERS).unwrap_or_default()
}

/// Returns empty buffers to the pool.
#[inline]
fn put_buffers(mut buffers: Box<Buffers>) {
    buffers.read.clear();
    let (read, write) = (buffers.read.capacity(), buffers.write.capacity());
    if is_poolable(read) && is_poolable(write) {
        pool::put_in(&UNUSED_BUFFERS, read + write, buffers);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::{pool::NEW_CAPACITY, *};
    use crate::framing::Side;

    /// Returns the slot of a connection that has read `bytes` and waits.
    fn waiting(mut bytes: &[u8]) -> BufferSlot {
        let mut slot = BufferSlot::new();
        let buffers = slot.checkout();
        while !bytes.is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            let read = buffers
                .read
                .poll_read(&mut ReadAhead::default(), &mut cx, &mut bytes);
            assert!(matches!(read, Poll::Ready(Ok(_))));
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
        assert!(waiting(b"").is_released());
    }

    #[test]
    fn beginning_of_a_frame_is_kept_in_as_much_memory_as_it_needs() {
        for length in [1, 4, 256, 257, 1_000, NEW_CAPACITY / 4] {
            let bytes = vec![b'x'; length];
            let mut slot = waiting(&bytes);
            assert!(memory(&slot) <= usize::max(256, 2 * length), "{length}");
            let buffers = slot.checkout();
            assert_eq!(unread(buffers), bytes);
            let mut cx = Context::from_waker(Waker::noop());
            let read = buffers
                .read
                .poll_read(&mut ReadAhead::default(), &mut cx, &mut &b"y"[..]);
            assert!(read.is_ready());
            assert_eq!(unread(buffers), [&bytes[..], b"y"].concat());
            assert!(buffers.read.capacity() >= NEW_CAPACITY);
        }
    }

    #[test]
    fn much_of_a_frame_stays_in_its_buffer_alone() {
        let slot = waiting(&[b'x'; NEW_CAPACITY / 4 + 1]);
        assert_eq!(memory(&slot), NEW_CAPACITY);
    }

    #[test]
    fn beginning_of_a_frame_does_not_stay_in_a_buffer_that_has_grown() {
        for length in [NEW_CAPACITY / 4 + 1, NEW_CAPACITY + 1, 300_000] {
            let mut slot = BufferSlot::new();
            let bytes = vec![b'x'; 8 << 20];
            let mut cx = Context::from_waker(Waker::noop());
            let (read, mut rest) = (&mut slot.checkout().read, &bytes[..]);
            let budget = MemoryBudget::new(1 << 30);
            while !rest.is_empty() {
                match read.poll_read(&mut ReadAhead::default(), &mut cx, &mut rest) {
                    Poll::Ready(Err(ReadError::NeedsMemory)) => {
                        let reserved = budget.try_reserve(1 << 30).expect("it is free");
                        read.grow_to(1 << 30, reserved);
                    }
                    polled => assert!(matches!(polled, Poll::Ready(Ok(1..)))),
                }
            }
            read.consume(&(0..0), bytes.len() - length);
            slot.release();
            assert!(memory(&slot) <= 2 * length, "{length}");
            // A buffer that is still too large for the pool keeps its reservation.
            let is_free = budget.try_reserve(1 << 30).is_some();
            assert_eq!(is_free, length <= pool::LARGEST, "{length}");
            assert_eq!(slot.checkout().read.has_reserved(), !is_free);
            assert_eq!(unread(slot.checkout()), vec![b'x'; length]);
            slot.release();
            assert!(memory(&slot) <= 2 * length, "{length}");
        }
    }

    #[test]
    fn reserved_memory_is_given_back_before_a_buffer_goes_to_the_pool() {
        let budget = MemoryBudget::new(1 << 30);
        let mut slot = waiting(&vec![b'x'; pool::LARGEST]);
        let reserved = budget.try_reserve(1 << 30).expect("it is free");
        let buffers = slot.checkout();
        buffers.read.grow_to(1 << 30, reserved);
        buffers.write.prepare();
        drop(slot);
        assert!(budget.try_reserve(1 << 30).is_some(), "it is free again");
        assert!(!BufferSlot::new().checkout().read.has_reserved());
    }

    #[test]
    fn bytes_in_both_buffers_are_dropped() {
        let mut slot = waiting(b"abc");
        let mut cx = Context::from_waker(Waker::noop());
        let ahead = &mut slot.checkout().ahead;
        assert!(ahead.poll_read(&mut cx, &mut &b"de"[..]).is_ready());
        assert_eq!(slot.clear_received(), 5);
        assert!(slot.is_released());
        assert_eq!(unread(slot.checkout()), b"");
        assert!(slot.checkout().ahead.is_unused());
    }

    #[test]
    fn unsent_replies_stay() {
        let mut slot = BufferSlot::new();
        let mut framing = crate::framing::Lines::default();
        let written = slot.checkout().write.message(&mut framing, 9, |out| {
            out.put(b"reply");
            Ok(())
        });
        assert!(written.is_ok());
        slot.release();
        assert_eq!(slot.checkout().write.unsent_len(), 6);
    }

    #[test]
    fn part_of_a_frame_that_was_not_written_is_removed() {
        let mut slot = BufferSlot::new();
        let write = &mut slot.checkout().write;
        let part = |out: &mut Vec<u8>| out.extend(b"part");
        for is_written in [true, false] {
            let appended = write.append(|out| {
                part(out);
                is_written
            });
            assert_eq!((appended, write.unsent_len()), (is_written, 4));
        }
    }

    #[test]
    fn what_is_to_be_skipped_is_not_forgotten() {
        let mut slot = waiting(b"abc");
        slot.checkout().read.consume(&(0..0), 10);
        slot.release();
        let buffers = slot.checkout();
        assert_eq!(buffers.read.arrived_of_frame(), 3);
        let mut cx = Context::from_waker(Waker::noop());
        let read =
            buffers
                .read
                .poll_read(&mut ReadAhead::default(), &mut cx, &mut &b"defghij|"[..]);
        assert!(read.is_ready());
        assert_eq!(unread(buffers), b"|");
    }

    #[test]
    fn buffers_are_used_again() {
        let address = |slot: &mut BufferSlot| {
            let buffers = slot.checkout();
            let (mut stream, _peer) = tokio::io::duplex(1);
            let mut cx = Context::from_waker(Waker::noop());
            let Buffers { read, ahead, write } = buffers;
            assert!(read.poll_read(ahead, &mut cx, &mut stream).is_pending());
            write.prepare();
            std::ptr::from_ref(slot.checkout()).addr()
        };
        let mut slot = BufferSlot::new();
        let first = address(&mut slot);
        slot.release();
        assert!(slot.is_released());
        let mut other = BufferSlot::new();
        assert_eq!(address(&mut other), first);
        drop(other);
        assert_eq!(address(&mut slot), first);
    }
}
