//! What a framing parses.

use super::{FrameError, ParsedFrame};

/// Allowance for what a framing adds to a message.
pub(super) const OVERHEAD: usize = 1024;

/// The end of a connection at which a framing reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Side {
    /// The server reads requests.
    Server,
    /// The client reads replies.
    Client,
}

/// The state of the input after the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "framings match on all of it")]
pub enum ReadState {
    /// The last read filled its buffer, so there may be more already.
    MaybeMore,
    /// Nothing more has arrived yet.
    Idle,
    /// Nothing more will arrive: the peer has closed its sending half.
    Eof,
}

/// The bytes that have arrived and are not part of a parsed frame yet.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    limit: usize,
    side: Side,
    read_state: ReadState,
}

impl<'a> Input<'a> {
    /// Creates an input of `bytes` that arrived at `side`, with a limit of `limit` bytes for a
    /// message.
    pub const fn new(bytes: &'a [u8], limit: usize, side: Side, read_state: ReadState) -> Self {
        Self {
            bytes,
            limit,
            side,
            read_state,
        }
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the maximum length of a message in bytes: `max_frame_len`.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the end that reads.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns the state of the input after these bytes.
    pub const fn read_state(&self) -> ReadState {
        self.read_state
    }

    /// Returns the first `n` bytes, or `None` if they have not all arrived: of a header, or of a whole frame.
    ///
    /// For a message whose length precedes it, [`ParsedFrame::counted`] checks the limit to the byte, and skips a
    /// message beyond it.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::too_large`] at once if `n` is more than the limit and 1,024 bytes for what a frame has beside
    /// its message, so that nothing waits for bytes that a peer only claims, and [`FrameError::truncated`] if the peer has
    /// closed its half before the last of them.
    pub fn need(&self, n: usize) -> Result<Option<&'a [u8]>, FrameError> {
        if n > self.limit.saturating_add(OVERHEAD) {
            return Err(FrameError::too_large(n, self.limit));
        }
        match self.bytes.get(..n) {
            None => ParsedFrame::incomplete(*self).map(|_| None),
            found => Ok(found),
        }
    }

    /// Returns `true` if the peer has closed its half, and has sent fewer than `length` bytes.
    pub(super) const fn ends_before(&self, length: usize) -> bool {
        matches!(self.read_state, ReadState::Eof) && self.bytes.len() < length
    }
}
