//! What is wrong with bytes, or with a message.

use std::fmt;

use super::foreign::{OtherProtocol, Words};
use crate::{Rejection, RejectionKind, rejection::Escaped};

/// Why bytes cannot be cut into frames, or a message cannot become one.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    kind: RejectionKind,
    pub(super) foreign: Option<Words>,
    text: Box<str>,
}

impl FrameError {
    /// What arrived is not this framing; the text goes to the peer.
    pub fn malformed(text: impl fmt::Display) -> Self {
        Self::of(RejectionKind::ProtocolError, text)
    }

    /// The peer closed its half in the middle of a frame.
    pub fn truncated() -> Self {
        Self::malformed("the connection ended in the middle of a frame")
    }

    /// A frame of `length` bytes, or more, is beyond `limit`, and there is no way to skip it.
    pub fn too_large(length: usize, limit: usize) -> Self {
        Self::malformed(too_large(length, limit))
    }

    /// A message that this framing cannot send; the peer that waits for it is told the text.
    pub fn unsendable(text: impl fmt::Display) -> Self {
        Self::of(RejectionKind::Failed, text)
    }

    /// What arrived is another protocol, of which the peer is told in its own terms.
    pub fn foreign(foreign: OtherProtocol) -> Self {
        Self::told(
            Words::OtherProtocol(foreign),
            format_args!("that looks like {foreign}"),
        )
    }

    /// The peer is told something else than the text.
    pub(super) fn told(words: Words, text: impl fmt::Display) -> Self {
        Self {
            foreign: Some(words),
            ..Self::malformed(text)
        }
    }

    /// Adds what a server seems to speak.
    pub(super) fn looking_like(self, foreign: OtherProtocol) -> Self {
        let Self { kind, text, .. } = self;
        Self::of(kind, format_args!("{text}; that looks like {foreign}"))
    }

    fn of(kind: RejectionKind, text: impl fmt::Display) -> Self {
        Self {
            kind,
            foreign: None,
            text: text.to_string().into_boxed_str(),
        }
    }

    /// Tells whether the peer speaks another protocol.
    pub(crate) const fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// Returns this error as it is told to the peer.
    pub(crate) fn refusal(&self) -> Rejection {
        Rejection::new(self.kind, &*self.text)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.text.as_bytes(), self.text.len()).fmt(f)
    }
}

impl std::error::Error for FrameError {}

/// The text about a message beyond the limit.
pub(crate) fn too_large(length: usize, limit: usize) -> String {
    format!("a message of {length} bytes exceeds `max_frame_len` of {limit} bytes")
}
