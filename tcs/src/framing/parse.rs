//! What a framing is given, and what it finds.

use std::{fmt, ops::Range};

use super::other_protocol::{Notice, OtherProtocol};
use crate::{Rejection, RejectionKind, rejection::Escaped};

/// Which end of a connection a framing reads at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Side {
    /// The server reads requests.
    Server,
    /// The client reads replies.
    Client,
}

/// What is known of the bytes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "framings match on all of it")]
pub enum Arrival {
    /// The last read filled its buffer, so there may be more already.
    Filled,
    /// Nothing more has arrived so far.
    Paused,
    /// Nothing more will arrive: the peer has closed its sending half.
    Ended,
}

/// In what units a framing takes bytes off a stream, as far as detecting other protocols depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
#[expect(clippy::exhaustive_enums, reason = "it is hidden")]
pub enum Granularity {
    /// Lines of text, which have no zero byte, and which may be long.
    Lines,
    /// Messages after a length of four bytes, of which the first is never a printable character. The
    /// framing remembers nothing.
    LengthPrefixed,
    /// Whatever has arrived at once.
    AtOnce,
    /// Anything else.
    Bytes,
}

/// The bytes that have arrived and belong to no frame yet.
#[derive(Clone, Copy, Debug)]
pub struct Unparsed<'a> {
    bytes: &'a [u8],
    limit: usize,
    side: Side,
    arrival: Arrival,
}

impl<'a> Unparsed<'a> {
    /// Describes bytes that arrived at `side`, where frames are limited to `limit` bytes.
    #[inline]
    pub const fn new(bytes: &'a [u8], limit: usize, side: Side, arrival: Arrival) -> Self {
        Self {
            bytes,
            limit,
            side,
            arrival,
        }
    }

    /// Returns the bytes.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the most bytes that a message may have: `max_frame_len`.
    #[inline]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns which end reads.
    #[inline]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns what is known of the bytes that follow.
    #[inline]
    pub const fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// Returns what [`Framing::parse`](super::Framing::parse) returns where no frame is complete.
    ///
    /// # Errors
    ///
    /// When the peer closed its half in the middle of a frame.
    #[inline]
    pub fn unfinished(&self) -> Result<Option<ParsedFrame>, FrameError> {
        match (self.arrival, self.bytes.len()) {
            (Arrival::Ended, 1..) => Err(FrameError::truncated()),
            _ => Ok(None),
        }
    }
}

/// A frame that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedFrame {
    pub(crate) kind: FrameKind,
    pub(crate) frame: Range<usize>,
    pub(crate) consumed: usize,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A request or a reply.
    Message,
    /// A control frame of this kind; `frame` is its text.
    Control(u8),
    /// A message beyond the limit, which is skipped; `frame` would be its bytes.
    TooLarge,
}

impl ParsedFrame {
    /// Describes a message: where its bytes are, and how many bytes the whole frame takes.
    #[inline]
    pub const fn message(frame: Range<usize>, consumed: usize) -> Self {
        Self {
            kind: FrameKind::Message,
            frame,
            consumed,
        }
    }

    /// Describes a control frame of a kind (`WIRE.md` has their codes), whose text is at `text`.
    #[inline]
    pub const fn control(kind: u8, text: Range<usize>, consumed: usize) -> Self {
        Self {
            kind: FrameKind::Control(kind),
            frame: text,
            consumed,
        }
    }

    /// Describes a message of `length` bytes, beyond the limit.
    ///
    /// It is rejected as *too large*, and `consumed` bytes are skipped, of which not all need have
    /// arrived yet.
    #[inline]
    pub const fn too_large(length: usize, consumed: usize) -> Self {
        Self {
            kind: FrameKind::TooLarge,
            frame: 0..length,
            consumed,
        }
    }
}

/// Why bytes are no frame, or a message cannot become one.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    kind: RejectionKind,
    pub(super) notice: Option<Notice>,
    text: Box<str>,
}

impl FrameError {
    /// The bytes are not of this framing. The peer is told the text.
    pub fn malformed(text: impl fmt::Display) -> Self {
        Self::new(RejectionKind::ProtocolError, text)
    }

    /// The peer closed its half in the middle of a frame.
    pub fn truncated() -> Self {
        Self::malformed("the connection ended in the middle of a frame")
    }

    /// A frame of `length` bytes, or more, is beyond `limit`, and there is no way to skip it.
    pub fn too_large(length: usize, limit: usize) -> Self {
        Self::malformed(too_large(length, limit))
    }

    /// This framing cannot carry the message. The peer that waits for it is told the text.
    pub fn unsendable(text: impl fmt::Display) -> Self {
        Self::new(RejectionKind::Failed, text)
    }

    /// The bytes are of another protocol, in whose terms the peer is told.
    pub fn other_protocol(protocol: OtherProtocol) -> Self {
        Self::with_notice(
            Notice::OtherProtocol(protocol),
            format_args!("that looks like {protocol}"),
        )
    }

    /// The bytes are not of this framing. The peer is told a notice instead of the text.
    pub(super) fn with_notice(notice: Notice, text: impl fmt::Display) -> Self {
        Self {
            notice: Some(notice),
            ..Self::malformed(text)
        }
    }

    /// Adds what the peer seems to speak.
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

    /// Returns the rejection that the peer is told.
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

/// Returns the text about a message beyond the limit.
pub(crate) fn too_large(length: usize, limit: usize) -> String {
    format!("a message of {length} bytes exceeds `max_frame_len` of {limit} bytes")
}

/// A message of up to so many times the limit is skipped, instead of ending the connection.
pub(super) const SKIPPED: usize = 4;

/// Judges a message of `length` bytes, beyond the limit, whose frame would take `consumed` bytes.
///
/// It takes the parts of an [`Unparsed`], because a whole one would have to be put into memory for it
/// even where it is not called.
#[cold]
pub(super) fn beyond_limit(
    length: usize,
    limit: usize,
    arrival: Arrival,
    consumed: usize,
) -> Result<Option<ParsedFrame>, FrameError> {
    let skippable = length <= limit.saturating_mul(SKIPPED);
    if skippable && arrival != Arrival::Ended {
        return Ok(Some(ParsedFrame::too_large(length, consumed)));
    }
    Err(FrameError::too_large(length, limit))
}
