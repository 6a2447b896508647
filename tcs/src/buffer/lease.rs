//! The buffers of a connection that it holds only while it needs them.

#![expect(
    clippy::unnecessary_box_returns,
    reason = "the box is what is passed on"
)]

use std::task::{Context, Poll};

use tokio::io::AsyncRead;

use super::{
    ReadBuffer, WriteBuffer,
    pool::{self, NEW, Pool},
};

/// Both buffers of a connection.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub(crate) inbox: ReadBuffer,
    pub(crate) outbox: WriteBuffer,
}

/// Where a connection keeps its buffers between two polls of its task.
///
/// One that waits for a request has none. Of one that waits for the rest of a small frame they are
/// not much larger than what has arrived.
#[derive(Debug)]
pub(crate) struct Lease(Option<Box<Buffers>>);

thread_local! {
    static LARGE: Pool<Box<Buffers>> = const { Pool::new(Vec::new()) };
    static SMALL: Pool<Box<Buffers>> = const { Pool::new(Vec::new()) };
}
/// A thread keeps so many of each kind: 2 MiB of the large ones, if none has grown, and 20 KiB.
const KEPT: usize = 64;
/// The capacity of the smallest buffer for the beginning of a frame.
const SMALLEST: usize = 256;
/// Of frames that have more already, the buffers are kept.
const PARKED: usize = NEW / 4;

impl Lease {
    /// Holds nothing.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Takes the buffers for use; to be put back by [`keep`](Self::keep) or [`rest`](Self::rest).
    #[inline]
    pub(crate) fn take(&mut self) -> Box<Buffers> {
        match self.0.take() {
            None => lend(),
            Some(held) if held.is_parked() => unpark(held),
            Some(held) => held,
        }
    }

    /// Puts the buffers back to be taken soon.
    #[inline]
    pub(crate) fn keep(&mut self, buffers: Box<Buffers>) {
        self.0 = Some(buffers);
    }

    /// Puts the buffers back for a while, in which the connection holds no more memory than it needs.
    #[inline]
    pub(crate) fn rest(&mut self, buffers: Box<Buffers>) {
        if !buffers.outbox.is_empty() {
            self.0 = Some(buffers);
        } else if !buffers.inbox.has_started() {
            give_back_rested(buffers);
        } else {
            self.0 = Some(park(buffers));
        }
    }

    /// Reads and drops what arrives, until nothing more can.
    ///
    /// Cancel safe: what arrives is not wanted.
    pub(crate) fn poll_discard<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<()> {
        let mut buffers = self.take();
        loop {
            buffers.inbox.reset();
            match buffers.inbox.poll_read(cx, stream) {
                Poll::Ready(Ok(())) if !buffers.inbox.has_ended() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.rest(buffers);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Returns the buffers, if there is something in them.
    #[inline]
    pub(crate) fn held(&self) -> Option<&Buffers> {
        self.0.as_deref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(buffers) = self.0.take() {
            give_back(buffers);
        }
    }
}

impl Buffers {
    fn new() -> Self {
        // Of buffers that were dropped in pairs, one may have been kept by itself.
        Self {
            inbox: ReadBuffer::over(pool::take()),
            outbox: WriteBuffer::over(pool::take()),
        }
    }

    /// Buffers of a connection that will rest in the middle of a small frame.
    fn small(capacity: usize) -> Self {
        Self {
            inbox: ReadBuffer::over(Vec::with_capacity(capacity)),
            outbox: WriteBuffer::new(),
        }
    }

    /// Tells whether these are a connection's that rests in the middle of a small frame.
    #[inline]
    fn is_parked(&self) -> bool {
        self.outbox.capacity() == 0
    }
}

#[inline]
fn lend() -> Box<Buffers> {
    pool::take_from(&LARGE).unwrap_or_else(|| Box::new(Buffers::new()))
}

fn give_back(mut buffers: Box<Buffers>) {
    buffers.inbox.reset();
    buffers.outbox.clear();
    give_back_rested(buffers);
}

/// Gives back buffers in which nothing is left.
#[inline]
fn give_back_rested(mut buffers: Box<Buffers>) {
    let Buffers { inbox, outbox } = &mut *buffers;
    inbox.forget_arrival();
    if inbox.is_usual() && outbox.is_usual() {
        pool::give_to(&LARGE, KEPT, buffers);
    } else if inbox.capacity() == SMALLEST {
        pool::give_to(&SMALL, KEPT, buffers);
    }
}

/// Moves the beginning of a small frame to where it takes less memory.
#[cold]
fn park(mut buffers: Box<Buffers>) -> Box<Buffers> {
    let length = buffers.inbox.unread();
    if length > PARKED {
        return buffers;
    }
    let capacity = length.next_power_of_two().max(SMALLEST);
    let pooled = (capacity == SMALLEST).then(|| pool::take_from(&SMALL));
    let mut small = pooled
        .flatten()
        .unwrap_or_else(|| Box::new(Buffers::small(capacity)));
    small.inbox.take_over(&mut buffers.inbox);
    give_back(buffers);
    small
}

/// Moves the beginning of a frame to where the rest has room.
#[cold]
fn unpark(mut small: Box<Buffers>) -> Box<Buffers> {
    let mut buffers = lend();
    buffers.inbox.take_over(&mut small.inbox);
    give_back(small);
    buffers
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::Side;

    /// A lease whose inbox has read `bytes`, and rests.
    fn rested(mut bytes: &[u8]) -> Lease {
        let mut lease = Lease::new();
        let mut buffers = lease.take();
        while !bytes.is_empty() {
            let mut cx = Context::from_waker(Waker::noop());
            let read = buffers.inbox.poll_read(&mut cx, &mut bytes);
            assert!(matches!(read, Poll::Ready(Ok(()))));
        }
        lease.rest(buffers);
        lease
    }

    fn memory(lease: &Lease) -> usize {
        let capacity = |held: &Buffers| held.inbox.capacity() + held.outbox.capacity();
        lease.held().map_or(0, capacity)
    }

    fn unread(buffers: &Buffers) -> &[u8] {
        buffers.inbox.input(usize::MAX, Side::Server).bytes()
    }

    #[test]
    fn connection_that_rests_between_frames_holds_nothing() {
        let lease = rested(b"");
        assert!(lease.held().is_none());
    }

    #[test]
    fn the_beginning_of_a_frame_is_kept_in_as_much_memory_as_it_needs() {
        for length in [1, 4, SMALLEST, SMALLEST + 1, 1_000, PARKED] {
            let bytes = vec![b'x'; length];
            let mut lease = rested(&bytes);
            assert!(memory(&lease) <= SMALLEST.max(2 * length), "{length}");
            let buffers = lease.take();
            assert_eq!(unread(&buffers), bytes);
            assert!(buffers.inbox.capacity() >= NEW && buffers.outbox.capacity() >= NEW);
        }
    }

    #[test]
    fn buffers_with_much_of_a_frame_or_with_unsent_replies_stay() {
        assert!(memory(&rested(&[b'x'; PARKED + 1])) >= 2 * NEW);
        let mut lease = Lease::new();
        let mut buffers = lease.take();
        let mut framing = crate::Lines::default();
        let said = buffers.outbox.message(&mut framing, 9, |out| {
            out.put(b"reply");
            Ok(())
        });
        assert!(said.is_ok());
        lease.rest(buffers);
        assert_eq!(lease.take().outbox.waiting(), 6);
    }

    #[test]
    fn what_is_to_be_skipped_is_not_forgotten() {
        let mut lease = rested(b"abc");
        let mut buffers = lease.take();
        buffers.inbox.consume(&(0..0), 10);
        lease.rest(buffers);
        let mut buffers = lease.take();
        assert_eq!(buffers.inbox.started(), 3);
        let mut cx = Context::from_waker(Waker::noop());
        let read = buffers.inbox.poll_read(&mut cx, &mut &b"defghij|"[..]);
        assert!(read.is_ready());
        assert_eq!(unread(&buffers), b"|");
    }

    #[test]
    fn buffers_are_used_again() {
        let address = |buffers: &Buffers| std::ptr::from_ref(buffers).addr();
        let mut lease = Lease::new();
        let buffers = lease.take();
        let first = address(&buffers);
        lease.rest(buffers);
        let mut other = Lease::new();
        assert_eq!(address(&other.take()), first);
    }
}
