//! Takes frames off the bytes of a receive buffer.

use std::{io, ops::Range};

use tokio::time::Instant;

use super::ReadAhead;
use crate::framing::{Input, ParsedFrame, ReadState, Side};

/// The unread bytes of a [`ReadBuffer`](super::ReadBuffer), while frames are taken off them.
///
/// A frame borrows the bytes and not this value, so a loop can take the next frame while the last
/// is in use.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) read_state: ReadState,
    pub(super) position: &'a mut Position,
}

impl<'a> Frames<'a> {
    /// Returns the unread bytes as the input of a framing.
    #[inline]
    pub(crate) fn input(&self, limit: usize, side: Side) -> Input<'a> {
        let unread = self.position.unread(self.bytes);
        Input::new(unread, limit, side, self.read_state)
    }

    /// Takes a frame that has arrived off `input`. Returns its message, or nothing if the range of the
    /// message is out of bounds.
    #[inline]
    pub(crate) fn take(&mut self, input: Input<'a>, parsed: ParsedFrame) -> &'a [u8] {
        self.position.start += parsed.consumed;
        slice(input.bytes(), parsed.payload)
    }

    /// Returns the last recorded arrival of bytes.
    pub(crate) fn last_arrival(&self) -> Arrival {
        self.position.last_arrival
    }

    /// Skips a frame. Bytes of the frame that have not arrived yet are dropped when they arrive.
    #[inline]
    pub(crate) fn skip(&mut self, consumed: usize) {
        match consumed.checked_sub(self.bytes.len() - self.position.start) {
            None | Some(0) => self.position.start += consumed,
            Some(missing) => self.skip_ahead(missing),
        }
    }

    /// Returns `true` if no bytes are left.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.position.start == self.bytes.len()
    }

    /// Returns `true` if a part of an unfinished frame has arrived.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        self.position.has_started(self.bytes)
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.read_state == ReadState::Eof
    }

    /// Moves all bytes, and the end of the input, before the bytes that were read ahead. Without memory for them, returns
    /// an error and moves nothing.
    pub(crate) fn move_rest_to(&mut self, ahead: &mut ReadAhead) -> io::Result<()> {
        ahead.prepend(self.position.unread(self.bytes), self.has_ended())?;
        self.position.start = self.bytes.len();
        if self.has_ended() {
            self.read_state = ReadState::MaybeMore;
        }
        Ok(())
    }

    /// Marks `missing` bytes to be dropped when they arrive.
    #[cold]
    fn skip_ahead(&mut self, missing: usize) {
        self.position.skipped = self.bytes.len() - self.position.start;
        self.position.skip = missing;
        self.position.start = self.bytes.len();
    }
}

/// The progress of taking frames off, and the time when their bytes arrived.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// The start of the unread bytes.
    pub(super) start: usize,
    /// The number of bytes to drop when they arrive.
    pub(super) skip: usize,
    /// The number of such bytes dropped so far.
    pub(super) skipped: usize,
    pub(super) last_arrival: Arrival,
}

impl Position {
    /// Returns `true` if a part of an unfinished frame is among `bytes`, or is to be dropped.
    #[inline]
    pub(super) fn has_started(&self, bytes: &[u8]) -> bool {
        self.start != bytes.len() || self.skip > 0
    }

    /// Returns the unread ones of `bytes`.
    #[inline]
    pub(super) fn unread<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        slice(bytes, self.start..bytes.len())
    }
}

/// The last arrival of bytes. Servers record it only if they have metrics, or a limit that needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) time: Option<Instant>,
    /// The number of requests that the connection had received before. All of them are answered.
    pub(crate) received: u64,
}

/// Returns the bytes at `range`, or no bytes if it is out of bounds.
#[inline]
pub(super) fn slice(bytes: &[u8], range: Range<usize>) -> &[u8] {
    match bytes.get(range) {
        Some(slice) => slice,
        None => out_of_bounds(),
    }
}

/// Returns no bytes. This is out of line, so that the compiler makes a branch of it. A conditional move would
/// delay the usual case.
#[cold]
fn out_of_bounds() -> &'static [u8] {
    &[]
}
