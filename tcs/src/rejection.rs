//! What is said instead of a reply.

use std::{fmt, fmt::Write as _};

/// A request or a connection that was turned away, and the reason the peer is told.
///
/// [`ServerProtocol::process_request`](crate::ServerProtocol::process_request) and
/// [`FromContext`](crate::FromContext) return it to reject a request; on the client it is found by
/// [`Error::rejection`](crate::Error::rejection). Over a framing with control frames
/// ([`LengthPrefixed`](crate::LengthPrefixed)) it travels as one; over the others the protocol words
/// it ([`reject_with`](crate::ServerProtocol::reject_with)), or else the connection closes, except that the text
/// of [`RejectionKind::Error`] is sent as the reply.
///
/// `Display` escapes control characters, because the text may come from a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: RejectionKind,
    text: String,
}

/// The kinds of control frames that turn something away; `WIRE.md` has their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// `0x01`: the function returned `Err`; it was executed.
    Error,
    /// `0x02`: the request could not be decoded; it was not executed.
    BadRequest,
    /// `0x03`: the request is larger than the server's `max_frame_len`; it was not executed.
    TooLarge,
    /// `0x04`: the server cannot take the request now; it was not executed.
    Busy,
    /// `0x05`: the function took too long and was cut; how far it came is unknown.
    TimedOut,
    /// `0x06`: the function panicked or was cut, or its reply could not be sent.
    Failed,
    /// `0x3f`, and any other code below `0x40` that is not known: it stands for one reply, and
    /// whether the request was executed is unknown.
    Unknown,
    /// `0x40`, final: the server is stopping.
    GoingAway,
    /// `0x41`, final: nothing arrived for as long as the server waits.
    Idle,
    /// `0x42`, final: the server has as many connections as it takes. For servers that turn peers
    /// away; those of this library let them wait in the backlog.
    TooManyConnections,
    /// `0x43`, final: what arrived is not the protocol of this port.
    ProtocolError,
}

impl RejectionKind {
    /// Returns the code of this kind on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Error => 0x01,
            Self::BadRequest => 0x02,
            Self::TooLarge => 0x03,
            Self::Busy => 0x04,
            Self::TimedOut => 0x05,
            Self::Failed => 0x06,
            Self::Unknown => 0x3f,
            Self::GoingAway => 0x40,
            Self::Idle => 0x41,
            Self::TooManyConnections => 0x42,
            Self::ProtocolError => 0x43,
        }
    }

    /// Returns the kind that `code` means to a reader, or `None` for a notice (`0x80` to `0xff`).
    ///
    /// A code below `0x40` that is not known is [`Unknown`](Self::Unknown); one from there to `0x7f`
    /// is final all the same.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x01 => Self::Error,
            0x02 => Self::BadRequest,
            0x03 => Self::TooLarge,
            0x04 => Self::Busy,
            0x05 => Self::TimedOut,
            0x06 => Self::Failed,
            0x41 => Self::Idle,
            0x42 => Self::TooManyConnections,
            0x43 => Self::ProtocolError,
            0x40..=0x7f => Self::GoingAway,
            0x80..=0xff => return None,
            _ => Self::Unknown,
        })
    }

    /// Tells whether this is the last that is said on a connection.
    ///
    /// Whatever was not answered before a final rejection was not executed and never will be.
    pub const fn is_final(self) -> bool {
        self.code() >= 0x40
    }

    /// Tells whether a request that was rejected like this was certainly not executed.
    pub const fn is_unexecuted(self) -> bool {
        self.is_final() || matches!(self, Self::BadRequest | Self::TooLarge | Self::Busy)
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::BadRequest => "bad request",
            Self::TooLarge => "too large",
            Self::Busy => "busy",
            Self::TimedOut => "timed out",
            Self::Failed => "failed",
            Self::Unknown => "unknown rejection",
            Self::GoingAway => "going away",
            Self::Idle => "idle",
            Self::TooManyConnections => "too many connections",
            Self::ProtocolError => "protocol error",
        })
    }
}

impl Rejection {
    /// Creates a rejection of `kind` with a text for the peer.
    ///
    /// On the wire the text is cut to 4,095 bytes.
    pub fn new(kind: RejectionKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            text: text.into(),
        }))
    }

    /// The function's own error: [`RejectionKind::Error`].
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::Error, text)
    }

    /// The request cannot be understood or is not allowed: [`RejectionKind::BadRequest`].
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::BadRequest, text)
    }

    /// The request cannot be taken now: [`RejectionKind::Busy`].
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::Busy, text)
    }

    /// Returns the kind.
    pub fn kind(&self) -> RejectionKind {
        self.0.kind
    }

    /// Returns the text as it was given or received, not escaped.
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        if !self.0.text.is_empty() {
            write!(f, ": {}", Escaped(self.0.text.as_bytes(), usize::MAX))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejection({self})")
    }
}

impl std::error::Error for Rejection {}

/// Shows bytes of a peer: control characters and what is not UTF-8 escaped, and not more than so
/// many bytes of them.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes, most) = *self;
        let shown = bytes.get(..most).unwrap_or(bytes);
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                // Bidirectional overrides and the like reorder a terminal's line as controls do.
                if c.is_control()
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                {
                    match c {
                        '\t' => f.write_str("\\t")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        _ => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    }
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if shown.len() < bytes.len() {
            f.write_str("…")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_kinds_agree() {
        for code in 0..=u8::MAX {
            match RejectionKind::from_code(code) {
                None => assert!(code >= 0x80, "{code:#x}"),
                Some(kind) => {
                    assert_eq!(kind.is_final(), (0x40..0x80).contains(&code), "{code:#x}");
                    assert_eq!(RejectionKind::from_code(kind.code()), Some(kind));
                }
            }
        }
    }

    #[test]
    fn text_of_a_peer_is_escaped() {
        let rejection = Rejection::error("a\u{1b}[31m\nb\u{202e}");
        assert_eq!(rejection.to_string(), "error: a\\u{1b}[31m\\nb\\u{202e}");
        assert_eq!(Escaped(b"ab\xff\r", 10).to_string(), "ab\\xff\\r");
        assert_eq!(Escaped(b"abcdef", 3).to_string(), "abc…");
    }

    #[test]
    fn rejection_is_one_pointer() {
        assert_eq!(size_of::<Rejection>(), size_of::<usize>());
    }
}
