//! What a framing finds.

use std::ops::Range;

use super::{FrameError, Input, ReadState};

/// A frame that a framing has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedFrame {
    pub(crate) kind: FrameKind,
    pub(crate) payload: Range<usize>,
    pub(crate) consumed: usize,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// A request or a reply.
    Message,
    /// A control frame of this kind.
    Control(u8),
    /// A message that a notice has announced: it is neither a request nor the reply to one.
    ///
    /// A [`Framing`](super::Framing) returns the notice as a control frame, and the messages after it as
    /// [`Message`](Self::Message). The library then gives them this kind.
    Announced(Announcement),
    /// A message beyond the limit, which is skipped. Its length is that of
    /// [`payload`](ParsedFrame::payload).
    // The length is not in this variant, because `LengthPrefixed` would then need 30 more instructions for
    // each message.
    Oversized,
    /// Bytes that are no part of a message.
    Skip,
}

/// What the messages are that follow a notice; see [`Framing::announce`](super::Framing::announce).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announcement {
    /// Items of the reply to the oldest request that is not answered. The reply follows them.
    Items,
    /// Events that the server pushes.
    Events,
    /// Further messages of the request before, from a client.
    Chunks,
    /// Parts of the reply with the same [id](super::Framing::id), which the next message of that id continues.
    Parts,
}

/// The kind of the control frame after the last chunk, from `WIRE.md`.
pub(crate) const CHUNKS_END: u8 = 0x84;

impl Announcement {
    /// Returns the kind of its control frame, from `WIRE.md`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Items => 0x81,
            Self::Events => 0x82,
            Self::Chunks => 0x83,
            Self::Parts => 0x85,
        }
    }

    /// Returns the announcement of a control frame of this kind.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0x81 => Some(Self::Items),
            0x82 => Some(Self::Events),
            0x83 => Some(Self::Chunks),
            0x85 => Some(Self::Parts),
            _ => None,
        }
    }
}

impl ParsedFrame {
    const fn new(kind: FrameKind, payload: Range<usize>, consumed: usize) -> Self {
        Self {
            kind,
            payload,
            consumed,
        }
    }

    /// Creates a message whose bytes are at `payload`. The whole frame has `consumed` bytes.
    pub const fn message(payload: Range<usize>, consumed: usize) -> Self {
        Self::new(FrameKind::Message, payload, consumed)
    }

    /// Creates a control frame of a kind, with its text at `text`. `WIRE.md` has the codes of the
    /// kinds.
    pub const fn control(kind: u8, text: Range<usize>, consumed: usize) -> Self {
        Self::new(FrameKind::Control(kind), text, consumed)
    }

    /// Creates a message of `length` bytes, beyond the limit.
    ///
    /// It is rejected as *too large*, and `consumed` bytes are skipped. They need not have arrived
    /// yet. The connection continues, unlike after [`FrameError::too_large`].
    pub const fn oversized(length: usize, consumed: usize) -> Self {
        Self::new(FrameKind::Oversized, 0..length, consumed)
    }

    /// Creates a frame for `consumed` bytes that are skipped, and are no part of a message.
    pub const fn skip(consumed: usize) -> Self {
        Self::new(FrameKind::Skip, 0..0, consumed)
    }

    /// Returns `None`, the result of [`Framing::parse`](super::Framing::parse) for an incomplete frame.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::truncated`] if the peer has closed its half in the middle of a frame.
    #[inline]
    pub fn incomplete(input: Input<'_>) -> Result<Option<Self>, FrameError> {
        match (input.read_state(), input.bytes().len()) {
            (ReadState::Eof, 1..) => Err(FrameError::truncated()),
            _ => Ok(None),
        }
    }

    /// Returns the message of `length` bytes that begins at `start` and ends its frame, or `None` if it is not complete.
    ///
    /// A message beyond the limit is [skipped](Self::oversized) if it is at most four times as long. No `length` that a
    /// peer sends overflows, or makes this wait for a message beyond the limit.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::too_large`] if the message is longer than that, or if the peer has closed its half before the
    /// end of one beyond the limit, and [`FrameError::truncated`] before the end of any other.
    ///
    /// # Examples
    ///
    /// A type of one byte, which is part of the message, a length of two bytes, and the bytes that it counts:
    ///
    /// ```
    /// use tcs::framing::{FrameError, Framing, Input, ParsedFrame};
    ///
    /// #[derive(Debug, Default)]
    /// struct Typed;
    ///
    /// impl Framing for Typed {
    ///     fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
    ///         let Some(&[_, high, low]) = input.need(3)? else {
    ///             return Ok(None);
    ///         };
    ///         let length = u16::from_be_bytes([high, low]);
    ///         ParsedFrame::counted(input, 0, 3 + usize::from(length))
    ///     }
    /// }
    /// # use tcs::framing::{ReadState, Side};
    /// # let input = |bytes| Input::new(bytes, 9, Side::Server, ReadState::Idle);
    /// # assert_eq!(Typed.parse(input(b"T\0\x01")), Ok(None));
    /// # assert_eq!(Typed.parse(input(b"T\0\x01x")), Ok(Some(ParsedFrame::message(0..4, 4))));
    /// # assert_eq!(Typed.parse(input(b"T\0\x07")), Ok(Some(ParsedFrame::oversized(10, 10))));
    /// # assert!(Typed.parse(input(b"T\x01\0")).is_err());
    /// ```
    #[inline]
    pub fn counted(
        input: Input<'_>,
        start: usize,
        length: usize,
    ) -> Result<Option<Self>, FrameError> {
        let end = start.saturating_add(length);
        if length > input.limit() {
            return skip_or_reject(length, input.limit(), end, input.ends_before(end));
        }
        if input.bytes().len() < end {
            return Self::incomplete(input);
        }
        Ok(Some(Self::message(start..end, end)))
    }

    /// Returns all bytes as one message, if it is complete.
    pub(super) fn whole_input(
        input: Input<'_>,
        is_complete: bool,
    ) -> Result<Option<Self>, FrameError> {
        let length = input.bytes().len();
        if length > input.limit() {
            return Err(FrameError::too_large(length, input.limit()));
        }
        Ok(is_complete.then(|| Self::message(0..length, length)))
    }

    /// Returns the kind of the frame.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns the place of the message, or of the text of a control frame, without prefix and
    /// delimiter. Of a message beyond the limit, only the length counts.
    pub const fn payload(&self) -> Range<usize> {
        self.payload.start..self.payload.end
    }

    /// Returns the length of a message beyond the limit, which has no place in the input.
    #[inline]
    pub(crate) fn oversized_len(&self) -> usize {
        self.payload.len()
    }

    /// Returns the length of the whole frame in bytes.
    pub const fn consumed(&self) -> usize {
        self.consumed
    }
}

/// A message of up to this many times the limit is skipped. A larger one ends the connection.
pub(super) const SKIP_FACTOR: usize = 4;

/// Returns a skipped message of `length` bytes, beyond the limit, in a frame of `consumed` bytes.
///
/// # Errors
///
/// Returns an error if the message is too large to be skipped, or if its frame is truncated.
#[cold]
pub(super) fn skip_or_reject(
    length: usize,
    limit: usize,
    consumed: usize,
    is_truncated: bool,
) -> Result<Option<ParsedFrame>, FrameError> {
    if length > limit.saturating_mul(SKIP_FACTOR) || is_truncated {
        return Err(FrameError::too_large(length, limit));
    }
    Ok(Some(ParsedFrame::oversized(length, consumed)))
}
