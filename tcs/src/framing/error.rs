//! The error of a framing.

use std::fmt;

use super::OtherProtocol;
use crate::{
    Rejection, RejectionKind,
    text::{Escaped, Text},
};

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
    /// The protocol that the server seems to speak, which `text` names as well.
    guess: Option<OtherProtocol>,
}

/// The cause of an error, which decides what the peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The peer sent bytes that are not of this framing.
    Malformed,
    /// The peer sent a message of at least `length` bytes.
    TooLarge { length: usize, limit: usize },
    /// The peer closed the connection in the middle of a frame.
    Truncated,
    /// The peer speaks another protocol, and gets the protocol's answer, or the text if there is none.
    OtherProtocol { answer: Option<&'static [u8]> },
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
        let text = format_args!("the connection ended in the middle of a frame");
        Self::new(Cause::Truncated, &text)
    }

    /// Creates an error for a frame of at least `length` bytes that is beyond `limit` and cannot be
    /// skipped. The connection closes, unlike after [`ParsedFrame::oversized`](super::ParsedFrame::oversized).
    pub fn too_large(length: usize, limit: usize) -> Self {
        Self::beyond("max_frame_len", length, limit)
    }

    /// Makes the text name `max_reply_len`. Framings and buffers do not know which limit they check, and always name
    /// `max_frame_len`.
    #[cold]
    pub(crate) fn of_reply(self) -> Self {
        match self.inner.cause {
            Cause::TooLarge { length, limit } => {
                Self::beyond("max_reply_len", length, limit).with_guess(self.inner.guess)
            }
            _ => self,
        }
    }

    fn beyond(setting: &str, length: usize, limit: usize) -> Self {
        let text = format_args!("a message of {length} bytes exceeds `{setting}` of {limit} bytes");
        Self::new(Cause::TooLarge { length, limit }, &text)
    }

    /// Creates an error for a message of at least `length` bytes that this end has no memory for. The peer gets a
    /// rejection, *busy*.
    pub fn out_of_memory(length: usize) -> Self {
        let text = format_args!("there is no memory for a message of {length} bytes");
        Self::new(Cause::OutOfMemory, &text)
    }

    /// Creates an error for a message that this framing cannot carry. The peer that waits for it
    /// receives the text.
    pub fn unsendable(text: impl fmt::Display) -> Self {
        Self::new(Cause::Failed, &text)
    }

    /// Creates an error for a message whose `length` does not fit in `bits` bits. `max` is the maximum.
    #[cold]
    pub(super) fn length_overflow(length: usize, max: usize, bits: usize) -> Self {
        Self::unsendable(format_args!(
            "a message of {length} bytes exceeds {max}, the maximum length that fits in {bits} bits"
        ))
    }

    /// Creates an error for a byte `found` in the place of `expected`.
    #[cold]
    pub(super) fn unexpected(found: u8, expected: impl fmt::Display) -> Self {
        let found = [found];
        let found = Escaped::all(&found);
        Self::malformed(format_args!("`{found}` instead of {expected}"))
    }

    /// Creates an error for bytes of another protocol. The peer gets the protocol's answer.
    pub fn other_protocol(protocol: OtherProtocol) -> Self {
        let text = format_args!("that looks like {protocol}");
        Self::with_answer(protocol.answer(), &text)
    }

    /// Creates an error for a peer of another protocol or framing. The peer receives `answer`, or the
    /// text if there is none.
    pub(super) fn with_answer(answer: Option<&'static [u8]>, text: &dyn fmt::Display) -> Self {
        Self::new(Cause::OtherProtocol { answer }, text)
    }

    /// Creates an error for a frame that breaks the rules of
    /// [`Framing::parse`](super::Framing::parse). The peer did nothing wrong.
    #[cold]
    pub(super) fn impossible_frame() -> Self {
        let text = "the framing found a frame without bytes, or beyond them";
        Self::new(Cause::Failed, &text)
    }

    /// Creates an error for the first bytes of a server that speaks another protocol.
    pub(super) fn server_speaks(protocol: OtherProtocol) -> Self {
        match protocol {
            OtherProtocol::Tls => {
                Self::malformed("the server speaks TLS at this port: connect to `tls://host:port`")
            }
            _ => Self::malformed(format_args!(
                "the server speaks {protocol}: check the address, or use a framing with `Detection::OFF` to speak \
                 {protocol}"
            )),
        }
    }

    /// Adds the protocol that the server seems to speak, if any.
    pub(super) fn with_guess(mut self, protocol: Option<OtherProtocol>) -> Self {
        let Some(protocol) = protocol else {
            return self;
        };
        if self.is_truncated() {
            // A truncated reply counts as a closed connection, but another connection would end like this one.
            self.inner.cause = Cause::Malformed;
        }
        let text = self.inner.text.raw();
        self.inner.text = Text::new(format_args!("{text}; that looks like {protocol}"));
        self.inner.guess = Some(protocol);
        self
    }

    #[cold]
    fn new(cause: Cause, text: &dyn fmt::Display) -> Self {
        let text = Text::new(text);
        Self {
            inner: Box::new(Inner {
                cause,
                text,
                guess: None,
            }),
        }
    }

    /// Returns `true` if the peer speaks another protocol.
    pub(crate) fn is_other_protocol(&self) -> bool {
        matches!(self.inner.cause, Cause::OtherProtocol { .. })
    }

    /// Returns `true` if the connection ended in the middle of a frame.
    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self.inner.cause, Cause::Truncated)
    }

    /// Returns the answer to a peer of another protocol, if there is one.
    pub(super) fn answer(&self) -> Option<&'static [u8]> {
        match self.inner.cause {
            Cause::OtherProtocol { answer } => answer,
            _ => None,
        }
    }

    /// Returns the rejection to send to the peer.
    pub(crate) fn rejection(&self) -> Rejection {
        let kind = match self.inner.cause {
            Cause::Malformed
            | Cause::TooLarge { .. }
            | Cause::Truncated
            | Cause::OtherProtocol { .. } => RejectionKind::ProtocolError,
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
