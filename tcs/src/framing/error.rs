//! The error of a framing.

use std::fmt;

use super::OtherProtocol;
use crate::{Rejection, RejectionKind, text::Text};

/// The reason why bytes are not a frame, or a message cannot become one.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    // Boxed, so that the results of framings stay small.
    inner: Box<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    cause: Cause,
    text: Text,
}

/// Whose fault an error is, and so what the peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The peer sent bytes that are not of this framing.
    Malformed,
    /// The peer speaks another protocol, in which it is sent this. If it is empty, the protocol has no
    /// answer, and the peer is sent the text.
    OtherProtocol { answer: &'static [u8] },
    /// This end has no memory for a message.
    OutOfMemory,
    /// This end failed: its message is not one of the framing, or its framing is wrong.
    Failed,
}

impl FrameError {
    /// Creates an error for bytes that are not of this framing. The peer receives the text.
    pub fn malformed(text: impl fmt::Display) -> Self {
        Self::new(Cause::Malformed, &text)
    }

    /// Creates an error for input that ended in the middle of a frame.
    pub fn truncated() -> Self {
        Self::malformed("the connection ended in the middle of a frame")
    }

    /// Creates an error for a frame of at least `length` bytes that is beyond `limit` and cannot be
    /// skipped. The connection closes, unlike after [`ParsedFrame::oversized`](super::ParsedFrame::oversized).
    pub fn too_large(length: usize, limit: usize) -> Self {
        Self::malformed(format_args!(
            "a message of {length} bytes exceeds `max_frame_len` of {limit} bytes"
        ))
    }

    /// Creates an error for a message of at least `length` bytes that this end has no memory for. The
    /// peer is told that the server is *busy*.
    pub fn out_of_memory(length: usize) -> Self {
        let text = format_args!("there is no memory for a message of {length} bytes");
        Self::new(Cause::OutOfMemory, &text)
    }

    /// Creates an error for a message that this framing cannot carry. The peer that waits for it
    /// receives the text.
    pub fn unsendable(text: impl fmt::Display) -> Self {
        Self::new(Cause::Failed, &text)
    }

    /// Creates an error for a message of `length` bytes, if its length does not fit in `bits` bits. `max` is
    /// the maximum.
    #[cold]
    pub(super) fn beyond_length(length: usize, max: usize, bits: usize) -> Self {
        Self::unsendable(format_args!(
            "a message of {length} bytes exceeds {max}, the maximum length that fits in {bits} bits"
        ))
    }

    /// Creates an error for bytes of another protocol. The peer is answered in that protocol.
    pub fn other_protocol(protocol: OtherProtocol) -> Self {
        let text = format_args!("that looks like {protocol}");
        Self::with_answer(protocol.answer(), &text)
    }

    /// Creates an error for a peer of another protocol or framing. The peer receives `answer`, or the
    /// text if that is empty.
    pub(super) fn with_answer(answer: &'static [u8], text: &dyn fmt::Display) -> Self {
        Self::new(Cause::OtherProtocol { answer }, text)
    }

    /// Creates an error for a frame that breaks the rules of
    /// [`Framing::parse`](super::Framing::parse). The peer did nothing wrong.
    #[cold]
    pub(super) fn impossible_frame() -> Self {
        let text = "the framing found a frame without bytes, or beyond them";
        Self::new(Cause::Failed, &text)
    }

    /// Adds the protocol that the peer seems to speak, if any.
    pub(super) fn with_guess(self, protocol: Option<OtherProtocol>) -> Self {
        let Some(protocol) = protocol else {
            return self;
        };
        let text = format_args!("{}; that looks like {protocol}", self.inner.text.raw());
        Self::new(self.inner.cause, &text)
    }

    #[cold]
    fn new(cause: Cause, text: &dyn fmt::Display) -> Self {
        let text = Text::new(text);
        Self {
            inner: Box::new(Inner { cause, text }),
        }
    }

    /// Returns `true` if the peer speaks another protocol.
    pub(crate) fn is_other_protocol(&self) -> bool {
        matches!(self.inner.cause, Cause::OtherProtocol { .. })
    }

    /// Returns the answer to a peer of another protocol, if there is one.
    pub(super) fn answer(&self) -> Option<&'static [u8]> {
        match self.inner.cause {
            Cause::OtherProtocol { answer } if !answer.is_empty() => Some(answer),
            _ => None,
        }
    }

    /// Returns the rejection to send to the peer.
    pub(crate) fn rejection(&self) -> Rejection {
        let kind = match self.inner.cause {
            Cause::Malformed | Cause::OtherProtocol { .. } => RejectionKind::ProtocolError,
            Cause::OutOfMemory => RejectionKind::Busy,
            Cause::Failed => RejectionKind::Failed,
        };
        Rejection::new(kind, self.inner.text.raw())
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.text.fmt(f)
    }
}

impl std::error::Error for FrameError {}
