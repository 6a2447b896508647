//! What a framing parses.

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

    /// Returns `true` if the peer has closed its half, and has sent fewer than `length` bytes.
    pub(super) const fn ends_before(&self, length: usize) -> bool {
        matches!(self.read_state, ReadState::Eof) && self.bytes.len() < length
    }
}
