//! The error of a framing.

use std::fmt;

use super::OtherProtocol;
use crate::{Rejection, RejectionKind, rejection::Escaped};

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
    kind: RejectionKind,
    text: String,
    /// What a peer of another protocol is sent instead of the text.
    answer: Option<&'static [u8]>,
}

impl FrameError {
    /// Creates an error for bytes that are not of this framing. The peer receives the text.
    pub fn malformed(text: impl fmt::Display) -> Self {
        Self::new(RejectionKind::ProtocolError, &text)
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
        Self::new(RejectionKind::Failed, &text)
    }

    /// Creates an error for bytes of another protocol. The peer is answered in that protocol.
    pub fn other_protocol(protocol: OtherProtocol) -> Self {
        Self::with_answer(
            protocol.answer(),
            &format_args!("that looks like {protocol}"),
        )
    }

    /// Creates an error for bytes that are not of this framing. The peer receives `answer`, or the
    /// text if the answer is empty.
    pub(super) fn with_answer(answer: &'static [u8], text: &dyn fmt::Display) -> Self {
        let mut error = Self::malformed(text);
        error.inner.answer = Some(answer);
        error
    }

    /// Adds the protocol that the peer seems to speak.
    pub(super) fn looking_like(&self, protocol: OtherProtocol) -> Self {
        let text = format_args!("{}; that looks like {protocol}", self.inner.text);
        Self::new(self.inner.kind, &text)
    }

    fn new(kind: RejectionKind, text: &dyn fmt::Display) -> Self {
        let (text, answer) = (text.to_string(), None);
        Self {
            inner: Box::new(Inner { kind, text, answer }),
        }
    }

    /// Returns `true` if the peer speaks another protocol.
    pub(crate) fn is_other_protocol(&self) -> bool {
        self.inner.answer.is_some()
    }

    /// Returns the answer to a peer of another protocol, if it has one.
    pub(super) fn answer(&self) -> Option<&'static [u8]> {
        self.inner.answer.filter(|answer| !answer.is_empty())
    }

    /// Returns the rejection to send to the peer.
    pub(crate) fn rejection(&self) -> Rejection {
        Rejection::new(self.inner.kind, &*self.inner.text)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.inner.text.as_bytes(), self.inner.text.len()).fmt(f)
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
