//! The bytes that are read ahead of the receive buffer.

use std::{
    collections::TryReserveError,
    io,
    mem::{MaybeUninit, take},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use super::{
    memory::{MemoryBudget, OverBudget, Reservation},
    pool,
};
use crate::framing::ReadState;

/// The maximum number of bytes read ahead for a connection.
const READ_AHEAD: usize = 64 * 1024;

/// Bytes read while a function holds the [`ReadBuffer`](super::ReadBuffer).
///
/// Reading ahead detects that the peer has gone. A silent peer costs no memory.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    bytes: Vec<u8>,
    /// The number of bytes that were consumed.
    consumed: usize,
    /// If the function waits for a message, the number of bytes of it that have arrived. This many bytes may be read
    /// ahead beyond [`READ_AHEAD`].
    demand: Option<usize>,
    has_ended: bool,
    /// Memory reserved for a message that is longer than the usual limit.
    reserved: Option<Reservation>,
    /// The first and the last read of the bytes, recorded as an [`Arrival`](super::Arrival) is.
    reads: Option<(Instant, Instant)>,
}

impl ReadAhead {
    /// Returns `true` if there are no bytes, and no end of the input.
    #[inline]
    pub(crate) const fn is_unused(&self) -> bool {
        self.len() == 0 && !self.has_ended
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.consumed..).unwrap_or_default()
    }

    /// Consumes bytes, which must be there.
    pub(crate) fn consume(&mut self, count: usize) {
        self.consumed += count.min(self.len());
        if count > 0 {
            self.forget_first_read();
        }
        self.release_large();
        // Half of the bytes are consumed first. Otherwise, the bytes would move once for each message.
        if self.consumed >= self.bytes.len() / 2 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
    }

    /// Takes the rest of a read buffer, and its end. The rest precedes the bytes that were read ahead.
    ///
    /// # Errors
    ///
    /// Takes nothing, and returns an error, if the system has no memory for the rest.
    pub(crate) fn prepend(&mut self, rest: &[u8], has_ended: bool) -> io::Result<()> {
        self.bytes.try_reserve(rest.len()).map_err(out_of_memory)?;
        self.has_ended |= has_ended;
        if !rest.is_empty() {
            self.bytes.splice(..self.consumed, rest.iter().copied());
            self.consumed = 0;
        }
        Ok(())
    }

    /// Sets whether the function waits for a message of which only a part is here. Then more is read ahead, because the
    /// message may be longer than the usual limit. The framing limits its length.
    pub(crate) fn set_demand(&mut self, is_waited_for: bool) {
        self.demand = is_waited_for.then(|| self.len());
    }

    /// Returns how many bytes of a message have arrived, if the function waits for one.
    pub(crate) const fn demand(&self) -> Option<usize> {
        self.demand
    }

    /// Returns the maximum number of bytes that are read ahead.
    const fn limit(&self) -> usize {
        match self.demand {
            Some(arrived) => READ_AHEAD + arrived,
            None => READ_AHEAD,
        }
    }

    /// Returns `true` if the bytes have more memory than the pool keeps, which must be [reserved](Self::reserve).
    #[inline]
    pub(crate) const fn is_large(&self) -> bool {
        self.bytes.capacity() > pool::LARGEST
    }

    /// Reserves the memory of the bytes, twice, because the function gets a copy.
    #[cold]
    pub(crate) fn reserve(&mut self, budget: &MemoryBudget) -> Result<(), OverBudget> {
        let length = self.bytes.capacity().saturating_mul(2);
        budget.reserve_existing(length, &mut self.reserved)
    }

    /// Releases the memory of a large message that was taken, although other bytes may be left: there may always be
    /// some.
    fn release_large(&mut self) {
        if self.is_large() && self.len() <= READ_AHEAD {
            self.bytes = self.bytes().to_vec();
            self.consumed = 0;
            self.reserved = None;
        }
    }

    /// Returns `true` if nothing more is read ahead.
    pub(crate) const fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// Records that bytes were read.
    pub(crate) fn record_read(&mut self, now: Instant) {
        let (first, _) = self.reads.unwrap_or((now, now));
        self.reads = Some((first, now));
    }

    /// Forgets the first read, because some of its bytes are gone. The rest may have arrived later, at an unknown time.
    /// With the time of the last read, no request is rejected for a longer wait than it had.
    fn forget_first_read(&mut self) {
        let rest = self.reads.filter(|_| self.len() > 0);
        self.reads = rest.map(|(_, last)| (last, last));
    }

    /// Returns the time since which the next bytes to move have waited, if it was recorded.
    pub(super) fn first_read(&self) -> Option<Instant> {
        self.reads.map(|(first, _)| first)
    }

    /// Reads the bytes that have arrived, until there are 64 KiB, or as many more as the function demands. Returns
    /// `Ready` when the input has ended or failed.
    ///
    /// Keeps what was transferred: bytes that were read stay here.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while !self.has_ended && !self.is_full() {
            let mut piece = [const { MaybeUninit::uninit() }; 4096];
            let mut piece = ReadBuf::uninit(&mut piece);
            let mut piece = piece.take(self.limit() - self.len());
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece))?;
            // If a function waits for the rest of a large message, there may be many bytes.
            let reserved = self.bytes.try_reserve(piece.filled().len());
            reserved.map_err(out_of_memory)?;
            self.bytes.extend_from_slice(piece.filled());
            self.has_ended = piece.filled().is_empty();
        }
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Returns the bytes.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.consumed);
        self.bytes
    }

    /// Moves as many bytes to `buffer` as it has room for. Returns the state of the input after them.
    ///
    /// The buffer does not grow for them: a larger one would make larger batches from then on, whose first
    /// reply waits for the last.
    pub(super) fn move_to(&mut self, buffer: &mut Vec<u8>) -> ReadState {
        self.demand = None;
        self.bytes.drain(..take(&mut self.consumed));
        let room = buffer.capacity() - buffer.len();
        let moved = room.min(self.bytes.len());
        buffer.extend(self.bytes.drain(..moved));
        if self.bytes.is_empty() && take(self).has_ended {
            return ReadState::Eof;
        }
        self.release_large();
        self.forget_first_read();
        // More may have arrived since.
        ReadState::MaybeMore
    }
}

fn out_of_memory(_: TryReserveError) -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use tokio::io::AsyncWriteExt as _;

    use super::{
        super::{pool::NEW_CAPACITY, read::ReadBuffer},
        *,
    };
    use crate::framing::Side;

    #[tokio::test]
    async fn at_most_64_kib_are_read_ahead() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let sent = vec![b'x'; 3 * READ_AHEAD];
        let mut cx = Context::from_waker(Waker::noop());
        let mut ahead = ReadAhead::default();
        // The first piece is not a whole one.
        far.write_all(b"x").await.expect("the pipe is open");
        assert!(ahead.poll_read(&mut cx, &mut near).is_pending());
        far.write_all(&sent).await.expect("the pipe is open");
        assert!(ahead.poll_read(&mut cx, &mut near).is_pending());
        assert_eq!(ahead.bytes.len(), READ_AHEAD);
        let mut buffer = ReadBuffer::default();
        for rest in [48 * 1024, 32 * 1024, 16 * 1024, 0] {
            let read = buffer.poll_read(&mut ahead, &mut cx, &mut near);
            assert!(read.is_ready());
            assert_eq!(ahead.bytes.len(), rest);
            let input = buffer.input(1, Side::Server);
            assert_eq!(input.read_state(), ReadState::MaybeMore);
            assert_eq!(buffer.capacity(), NEW_CAPACITY, "it does not grow");
            buffer.consume(&(0..0), NEW_CAPACITY);
        }
    }

    #[test]
    fn memory_of_a_large_message_is_reserved_twice_until_it_is_consumed() {
        let budget = MemoryBudget::new(1 << 20);
        let mut ahead = ReadAhead {
            bytes: vec![b'x'; pool::LARGEST],
            ..ReadAhead::default()
        };
        assert!(!ahead.is_large());
        ahead.bytes = vec![b'x'; 256 * 1024];
        assert!(ahead.is_large());
        ahead.reserve(&budget).expect("it is free");
        ahead.reserve(&budget).expect("it has it");
        // Further messages follow the large one, and there may be some for as long as the connection is open.
        ahead.consume(192 * 1024 - 1);
        assert!(budget.try_reserve(512 * 1024).is_some());
        assert!(budget.try_reserve(512 * 1024 + 1).is_none());
        ahead.consume(1);
        assert!(budget.try_reserve(1 << 20).is_some());
        assert_eq!(
            (ahead.bytes.capacity(), ahead.len()),
            (READ_AHEAD, READ_AHEAD)
        );
        ahead.consume(READ_AHEAD);
        assert!(ahead.is_unused());
    }

    #[test]
    fn rest_behind_a_large_message_does_not_keep_its_memory() {
        let mut ahead = ReadAhead {
            bytes: vec![b'x'; 8 << 20],
            ..ReadAhead::default()
        };
        let mut buffer = Vec::with_capacity((8 << 20) - 1);
        ahead.move_to(&mut buffer);
        assert_eq!((ahead.bytes.capacity(), ahead.bytes()), (1, &b"x"[..]));
    }

    #[test]
    fn rest_has_waited_from_the_last_read_on() {
        let mut ahead = ReadAhead::default();
        let mut buffer = Vec::with_capacity(NEW_CAPACITY);
        let (first, last) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        for now in [first, last] {
            ahead.bytes.extend([b'x'; NEW_CAPACITY]);
            ahead.record_read(now);
        }
        for waited_from in [Some(first), Some(last), None] {
            assert_eq!(ahead.first_read(), waited_from);
            ahead.move_to(&mut buffer);
            buffer.clear();
        }
    }

    #[test]
    fn bytes_behind_consumed_ones_have_waited_from_the_last_read_on() {
        let mut ahead = ReadAhead::default();
        let (first, last) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        for now in [first, last] {
            ahead.bytes.extend(*b"xy");
            ahead.record_read(now);
        }
        for waited_from in [Some(first), Some(last), Some(last), None] {
            assert_eq!(ahead.first_read(), waited_from);
            ahead.consume(if waited_from == Some(first) { 2 } else { 1 });
        }
    }

    #[test]
    fn end_that_was_read_ahead_is_reported_with_the_last_of_the_bytes() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut buffer, mut ahead) = (ReadBuffer::default(), ReadAhead::default());
        let sent = vec![b'x'; NEW_CAPACITY + 1];
        assert!(ahead.poll_read(&mut cx, &mut &sent[..]).is_ready());
        for (length, has_ended) in [(NEW_CAPACITY, false), (1, true)] {
            let read = buffer.poll_read(&mut ahead, &mut cx, &mut &b"never"[..]);
            assert!(read.is_ready());
            assert_eq!(
                (buffer.unread_len(), buffer.has_ended()),
                (length, has_ended)
            );
            buffer.consume(&(0..0), length);
        }
    }
}
