//! The input and the results of a framing.

use std::{fmt, ops::Range};

use super::other_protocol::{Notice, OtherProtocol};
use crate::{Rejection, RejectionKind, rejection::Escaped};

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

/// How other protocols are detected around a framing. It depends on how the framing takes bytes off a
/// stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
#[expect(clippy::exhaustive_enums, reason = "it is hidden")]
pub enum Detection {
    /// Lines of text. They have no zero byte, and may be long.
    Lines,
    /// Messages after a length of four bytes. The first byte is never a printable character. The
    /// framing has no state.
    LengthPrefixed,
    /// The bytes that have arrived at once.
    AtOnce,
    /// Anything else.
    Bytes,
}

/// The bytes that have arrived and are not part of a parsed frame yet.
#[derive(Clone, Copy, Debug)]
pub struct Unparsed<'a> {
    bytes: &'a [u8],
    limit: usize,
    side: Side,
    read_state: ReadState,
}

impl<'a> Unparsed<'a> {
    /// Creates an input of `bytes` that arrived at `side`, with a limit of `limit` bytes for a
    /// frame.
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

    /// Returns the result of [`Framing::parse`](super::Framing::parse) for an incomplete frame.
    ///
    /// # Errors
    ///
    /// Returns an error if the peer has closed its half in the middle of a frame.
    #[inline]
    pub fn unfinished(&self) -> Result<Option<ParsedFrame>, FrameError> {
        match (self.read_state, self.bytes.len()) {
            (ReadState::Eof, 1..) => Err(FrameError::truncated()),
            _ => Ok(None),
        }
    }
}

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
    /// A message beyond the limit, which is skipped.
    TooLarge,
    /// Bytes that are no part of a message.
    Skip,
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
    /// yet.
    pub const fn too_large(length: usize, consumed: usize) -> Self {
        Self::new(FrameKind::TooLarge, 0..length, consumed)
    }

    /// Creates a frame for `consumed` bytes that are skipped, and are no part of a message.
    pub const fn skip(consumed: usize) -> Self {
        Self::new(FrameKind::Skip, 0..0, consumed)
    }

    /// Returns the kind of the frame.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns the place of the message, or of the text of a control frame, without prefix and
    /// delimiter.
    ///
    /// Of a message beyond the limit, only the length counts.
    pub const fn payload(&self) -> Range<usize> {
        self.payload.start..self.payload.end
    }

    /// Returns the length of the whole frame in bytes.
    pub const fn consumed(&self) -> usize {
        self.consumed
    }
}

/// The reason why bytes are not a frame, or a message cannot become one.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    kind: RejectionKind,
    pub(super) notice: Option<Notice>,
    text: Box<str>,
}

impl FrameError {
    /// Creates an error for bytes that are not of this framing. The peer receives the text.
    pub fn malformed(text: impl fmt::Display) -> Self {
        Self::new(RejectionKind::ProtocolError, text)
    }

    /// Creates an error for input that ended in the middle of a frame.
    pub fn truncated() -> Self {
        Self::malformed("the connection ended in the middle of a frame")
    }

    /// Creates an error for a frame of at least `length` bytes that is beyond `limit` and cannot be
    /// skipped.
    pub fn too_large(length: usize, limit: usize) -> Self {
        Self::malformed(too_large(length, limit))
    }

    /// Creates an error for a message that this framing cannot carry. The peer that waits for it
    /// receives the text.
    pub fn unsendable(text: impl fmt::Display) -> Self {
        Self::new(RejectionKind::Failed, text)
    }

    /// Creates an error for bytes of another protocol. The peer is answered in that protocol.
    pub fn other_protocol(protocol: OtherProtocol) -> Self {
        Self::with_notice(
            Notice::OtherProtocol(protocol),
            format_args!("that looks like {protocol}"),
        )
    }

    /// Creates an error for bytes that are not of this framing. The peer receives a notice instead
    /// of the text.
    pub(super) fn with_notice(notice: Notice, text: impl fmt::Display) -> Self {
        Self {
            notice: Some(notice),
            ..Self::malformed(text)
        }
    }

    /// Adds the protocol that the peer seems to speak.
    pub(super) fn looking_like(self, protocol: OtherProtocol) -> Self {
        let Self { kind, text, .. } = self;
        Self::new(kind, format_args!("{text}; that looks like {protocol}"))
    }

    fn new(kind: RejectionKind, text: impl fmt::Display) -> Self {
        Self {
            kind,
            notice: None,
            text: text.to_string().into_boxed_str(),
        }
    }

    /// Returns `true` if the peer speaks another protocol.
    pub(crate) const fn is_other_protocol(&self) -> bool {
        self.notice.is_some()
    }

    /// Returns the rejection to send to the peer.
    pub(crate) fn rejection(&self) -> Rejection {
        Rejection::new(self.kind, &*self.text)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.text.as_bytes(), self.text.len()).fmt(f)
    }
}

impl std::error::Error for FrameError {}

/// Returns the text about a message beyond the limit, or beyond what there is memory for.
pub(crate) fn too_large(length: usize, limit: usize) -> String {
    if length <= limit {
        return format!("there is no memory for a message of {length} bytes");
    }
    format!("a message of {length} bytes exceeds `max_frame_len` of {limit} bytes")
}

/// A message of up to this many times the limit is skipped. A larger one ends the connection.
pub(super) const SKIPPED: usize = 4;

/// Returns a skipped message of `length` bytes, beyond the limit, or an error if it cannot be
/// skipped. Its frame would take `consumed` bytes.
///
/// Takes the parts of the input: a whole one would have to be put into memory for this call, even
/// where the call does not happen.
#[cold]
pub(super) fn beyond_limit(
    length: usize,
    limit: usize,
    read_state: ReadState,
    consumed: usize,
) -> Result<Option<ParsedFrame>, FrameError> {
    let skippable = length <= limit.saturating_mul(SKIPPED);
    if skippable && read_state != ReadState::Eof {
        return Ok(Some(ParsedFrame::too_large(length, consumed)));
    }
    Err(FrameError::too_large(length, limit))
}
