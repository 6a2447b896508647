//! The receive buffer: bytes that have arrived and are not consumed yet.
//!
//! ```text
//! | consumed | unread: whole frames, and the beginning of one | room |
//! 0        start                                            len   capacity
//! ```
//!
//! A read moves the unread bytes to the front and appends to them, so a frame is always in one piece. The bytes do
//! not move between two reads: requests borrow from them. While a function holds such a request, further bytes go
//! into a [`ReadAhead`].

use std::{
    io,
    mem::replace,
    ops::Range,
    pin::pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::coop,
    time::Instant,
};

use super::{
    ahead::ReadAhead,
    frames::{Arrival, Frames, Position, slice},
    memory::{MemoryBudget, Reservation},
    pool::{self, MessageBytes, NEW_CAPACITY},
};
use crate::{
    framing::{Input, ParsedFrame, ReadState, Side},
    runtime::wake_after_others,
};

/// From this capacity on, a buffer grows by half instead of doubling. A frame of 16 MiB then fits
/// into the memory that `malloc` keeps for reuse (32 MiB, `M_MMAP_THRESHOLD` in mallopt(3)).
const LARGE: usize = 1 << 20;
/// The capacity of the smallest buffer for the beginning of a frame.
const SMALLEST: usize = 256;

/// The receive buffer of a connection.
///
/// The buffer grows with the bytes that arrive, never with a length that a peer claims. While the buffer is empty and a
/// read has to wait, its memory is in the pool.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    buffer: Vec<u8>,
    position: Position,
    read_state: ReadState,
    /// The capacity up to which the buffer may grow.
    max_capacity: usize,
    /// The reservation of a server for a capacity that is too large for the pool.
    reserved: Option<Reservation>,
    /// The time at which the bytes that moved here last were read ahead, recorded as an [`Arrival`] is.
    read_ahead_at: Option<Instant>,
}

/// Why a read failed.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The buffer is full, and must [reserve](ReadBuffer::grow_to) memory to grow.
    NeedsMemory,
    /// The system has no memory for more bytes.
    OutOfMemory,
    /// The stream failed.
    Io(io::Error),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NeedsMemory | ReadError::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
            ReadError::Io(error) => error,
        }
    }
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            position: Position::default(),
            read_state: ReadState::Idle,
            max_capacity: usize::MAX,
            reserved: None,
            read_ahead_at: None,
        }
    }
}

impl ReadBuffer {
    /// Creates a buffer that grows beyond `pool::LARGEST` only once it has [`reserved`](Self::grow_to) memory.
    pub(super) fn within_budget() -> Self {
        let mut buffer = Self::default();
        buffer.max_capacity = pool::LARGEST;
        buffer
    }

    /// Returns `true` if the buffer has reserved memory.
    pub(crate) fn has_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// Returns `true` if the buffer has reserved memory that others wait for.
    pub(crate) fn is_contended(&self, budget: &MemoryBudget) -> bool {
        let reserved = self.reserved.as_ref();
        reserved.is_some_and(|reserved| budget.is_contended(reserved))
    }

    /// Lets the buffer grow to a capacity. `reserved` is the memory for that, beyond earlier reservations.
    pub(crate) fn grow_to(&mut self, capacity: usize, reserved: Reservation) {
        self.max_capacity = capacity;
        Reservation::merge(&mut self.reserved, reserved);
    }

    /// Returns the unread bytes as the input of a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Input<'_> {
        let unread = self.position.unread(&self.buffer);
        Input::new(unread, limit, side, self.read_state)
    }

    /// Records that the last read has appended bytes, after this many requests of the connection had been received.
    pub(crate) fn record_arrival(&mut self, received: u64) {
        let time = self.read_ahead_at.take().unwrap_or_else(Instant::now);
        self.position.last_arrival = Arrival {
            time: Some(time),
            received,
        };
    }

    /// Returns the unread bytes, to take frames off them.
    #[inline]
    pub(crate) fn frames(&mut self) -> Frames<'_> {
        Frames {
            bytes: &self.buffer,
            read_state: self.read_state,
            position: &mut self.position,
        }
    }

    /// Takes `consumed` bytes off the unread ones. Returns the position of `frame` in the buffer.
    ///
    /// Bytes that have not arrived yet are dropped when they arrive.
    #[inline]
    pub(crate) fn consume(&mut self, frame: &Range<usize>, consumed: usize) -> Range<usize> {
        let start = self.position.start;
        self.frames().skip(consumed);
        start + frame.start..start + frame.end
    }

    /// Returns `true` if bytes were taken off since the last read.
    #[inline]
    pub(crate) fn has_consumed(&self) -> bool {
        self.position.start > 0
    }

    /// Returns the bytes at a range that [`consume`](Self::consume) returned since the last read. Returns no bytes if
    /// the framing's range was out of bounds.
    #[inline]
    pub(crate) fn bytes_at(&self, range: Range<usize>) -> &[u8] {
        slice(&self.buffer, range)
    }

    /// Takes a frame that has arrived. Returns its message with memory of its own, or the place of the message if there
    /// is no memory for it.
    pub(crate) fn take_owned(
        &mut self,
        parsed: &ParsedFrame,
        budget: &MemoryBudget,
    ) -> Result<OwnedMessage, Range<usize>> {
        // A large message takes its buffer with it, and leaves only the bytes after it. These must be few, because they
        // are copied for each message.
        let place = self.consume(&parsed.payload(), parsed.consumed);
        if place.len() > pool::LARGEST.max(self.capacity() / 2)
            && self.unread_len() <= pool::LARGEST
        {
            // A copy of the message would double its memory, and the budget may have no more.
            let rest = self.buffer.split_off(self.position.start);
            self.position.start = 0;
            let message = OwnedMessage {
                bytes: MessageBytes(replace(&mut self.buffer, rest)),
                place,
                _reserved: self.reserved.take(),
            };
            self.release_reserved();
            return Ok(message);
        }
        let length = place.len();
        let reserved = if length > pool::LARGEST {
            let Some(reserved) = budget.try_reserve(length) else {
                return Err(place);
            };
            Some(reserved)
        } else {
            None
        };
        // The system may refuse the memory, and then one request is rejected. An ordinary allocation would abort the
        // process.
        let mut bytes = MessageBytes::for_len(length);
        if bytes.0.try_reserve_exact(length).is_err() {
            return Err(place);
        }
        bytes.0.extend_from_slice(self.bytes_at(place));
        Ok(OwnedMessage {
            bytes,
            place: 0..length,
            _reserved: reserved,
        })
    }

    /// Returns `true` if a part of an unfinished frame has arrived.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.position.has_started(&self.buffer)
    }

    /// Returns the number of bytes of an unfinished frame that have arrived.
    pub(crate) fn arrived_of_frame(&self) -> usize {
        if self.position.skip > 0 {
            self.position.skipped
        } else {
            self.unread_len()
        }
    }

    /// Returns `true` if the next bytes are the rest of a frame that was already handled.
    pub(crate) fn is_skipping(&self) -> bool {
        self.position.skip > 0
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.read_state == ReadState::Eof
    }

    /// Records that the end of the input has moved to a [`ReadAhead`].
    pub(crate) fn reopen(&mut self) {
        self.read_state = ReadState::MaybeMore;
    }

    /// Reads once: first the bytes that were read ahead, then from the stream. On `Ready`, bytes were appended
    /// or `read_state` changed. Returns the number of bytes that were read.
    ///
    /// Takes a buffer from the pool.
    ///
    /// Keeps what was transferred: the buffer has all bytes that were read.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves 2 % of a lone request")]
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        ahead: &mut ReadAhead,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<usize, ReadError>> {
        // The bytes that were read ahead come first: they are older than any bytes in the socket.
        self.make_room()?;
        if !ahead.is_unused() {
            self.take_what_fits(ahead);
            return Poll::Ready(Ok(0));
        }
        // The read goes into the uninitialized room of the buffer, so nothing is zeroed before, and nothing copied
        // afterwards.
        let read = pin!(stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() && self.read_state == ReadState::MaybeMore {
            return self.confirm_pause(cx);
        }
        let read = ready!(read).map_err(ReadError::Io)?;
        self.read_state = match read {
            0 => ReadState::Eof,
            // Only a full buffer means that there may be more. A second read that finds nothing would cost a system
            // call per request.
            _ if self.buffer.len() == self.buffer.capacity() => ReadState::MaybeMore,
            _ => ReadState::Idle,
        };
        if self.position.skip > 0 {
            self.skip_arrived();
        }
        Poll::Ready(Ok(read))
    }

    /// Takes the bytes that were read ahead, as far as there is room for them.
    pub(crate) fn take_from_ahead(&mut self, ahead: &mut ReadAhead) -> Result<(), ReadError> {
        self.make_room()?;
        self.take_what_fits(ahead);
        Ok(())
    }

    /// Decides whether more has arrived after a read that filled the buffer.
    #[cold]
    fn confirm_pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ReadError>> {
        if !coop::has_budget_remaining() {
            // There may be more, but this task must let others run first.
            wake_after_others(cx);
            return Poll::Pending;
        }
        // The last read filled the buffer exactly.
        self.read_state = ReadState::Idle;
        Poll::Ready(Ok(0))
    }

    /// Drops the bytes that have arrived of a frame that was already handled.
    #[cold]
    fn skip_arrived(&mut self) {
        // Nothing else was unread, so these bytes are at the front.
        let skipped = self.position.skip.min(self.buffer.len());
        self.position.skip -= skipped;
        self.position.skipped += skipped;
        // The buffer keeps no bytes of a skipped message, so a peer cannot make it grow with bytes that nobody reads.
        if self.position.skip > 0 {
            self.buffer.clear();
        } else {
            // `has_consumed` reports the frame, because it has been taken off completely.
            self.position.start = skipped;
        }
    }

    /// Takes as many of the bytes that were read ahead as there is room for.
    #[cold]
    fn take_what_fits(&mut self, ahead: &mut ReadAhead) {
        self.read_ahead_at = ahead.first_read();
        self.read_state = ahead.move_to(&mut self.buffer);
        if self.position.skip > 0 {
            self.skip_arrived();
        }
    }

    /// Returns the unread bytes, followed by those that were read ahead.
    pub(crate) fn into_unread(mut self, ahead: ReadAhead) -> Vec<u8> {
        let mut unread = self.buffer.split_off(self.position.start);
        unread.append(&mut ahead.into_bytes());
        unread
    }

    /// Returns the memory to the pool if no bytes are left in it.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.buffer.is_empty() {
            pool::put(&mut self.buffer);
        }
    }

    /// Moves unread bytes that fill at most a quarter of their buffer to a smaller one. Keeps the reserved memory if
    /// the smaller one is still too large for the pool.
    #[cold]
    pub(super) fn compact(&mut self) {
        // An idle connection with a few bytes of a frame would otherwise keep a whole buffer of the pool for as
        // long as the peer likes.
        let unread = self.position.unread(&self.buffer);
        let capacity = unread.len().next_power_of_two().max(SMALLEST);
        if capacity > self.buffer.capacity() / 4 {
            return;
        }
        let mut small = Vec::new();
        if small.try_reserve_exact(capacity).is_err() {
            return;
        }
        small.extend_from_slice(unread);
        pool::put(&mut self.buffer);
        self.buffer = small;
        self.position.start = 0;
        if capacity <= pool::LARGEST && self.reserved.is_some() {
            self.release_reserved();
        }
    }

    /// Releases the reserved memory. The buffer must not be too large for the pool.
    #[cold]
    fn release_reserved(&mut self) {
        self.reserved = None;
        self.max_capacity = pool::LARGEST;
    }

    #[cold]
    fn move_to_full_size(&mut self) {
        let small = replace(&mut self.buffer, pool::get());
        self.buffer.extend_from_slice(&small);
    }

    /// Drops the bytes and the end of the input, for a new connection.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.position = Position::default();
        self.read_state = ReadState::Idle;
        self.read_ahead_at = None;
        if self.reserved.is_some() {
            pool::put(&mut self.buffer);
            self.release_reserved();
        }
    }

    /// Returns the number of unread bytes.
    #[inline]
    pub(crate) fn unread_len(&self) -> usize {
        self.buffer.len() - self.position.start
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[inline]
    fn make_room(&mut self) -> Result<(), ReadError> {
        // Usually, a whole request was consumed, and nothing moves. The rest of pipelined requests moves once per read,
        // not per request.
        if self.position.start == self.buffer.len() {
            self.buffer.clear();
        } else if self.position.start > 0 {
            self.buffer.drain(..self.position.start);
        }
        self.position.start = 0;
        if self.buffer.capacity() < NEW_CAPACITY {
            self.move_to_full_size();
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.grow()?;
        }
        Ok(())
    }

    /// Grows the buffer in proportion to the bytes that have arrived.
    #[cold]
    fn grow(&mut self) -> Result<(), ReadError> {
        let capacity = self.buffer.capacity();
        let room = self.max_capacity.saturating_sub(capacity);
        if room == 0 {
            return Err(ReadError::NeedsMemory);
        }
        let divisor = if capacity < LARGE { 1 } else { 2 };
        // A length that a header claims does not count: a peer gets memory only for bytes that have arrived.
        let more = room.min(capacity / divisor);
        if capacity + more > pool::LARGEST
            && let Some(mut large) = pool::get_large(capacity + more, self.max_capacity)
        {
            large.extend_from_slice(&self.buffer);
            pool::put(&mut replace(&mut self.buffer, large));
            return Ok(());
        }
        // The system may refuse the memory for a large frame, which must not end the process.
        let grown = self.buffer.try_reserve_exact(more);
        grown.map_err(|_| ReadError::OutOfMemory)
    }
}

/// A message that was taken out of a [`ReadBuffer`].
#[derive(Debug)]
pub(crate) struct OwnedMessage {
    bytes: MessageBytes,
    place: Range<usize>,
    /// The reservation of a large message.
    _reserved: Option<Reservation>,
}

impl OwnedMessage {
    pub(crate) fn bytes(&self) -> &[u8] {
        slice(&self.bytes, self.place.clone())
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        pool::put(&mut self.buffer);
    }
}

#[cfg(test)]
mod tests;
