//! Why a request or a connection was rejected.

use std::fmt;

use crate::text::{Escaped, MAX_SHOWN};

/// The reason why a request or a connection was rejected.
///
/// At a server, [`process_request`](crate::protocol::ServerProtocol::process_request) or
/// [`FromContext`](crate::protocol::FromContext) returns it. At a client, [`Error::rejection`](crate::Error::rejection)
/// does.
///
/// [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed) carry it in a
/// control frame. With any other framing, the peer receives the message of the protocol's
/// [`reject_with`](crate::protocol::ServerProtocol::reject_with). Without that, the text of a [`RejectionKind::Error`]
/// is sent as the reply, and any other kind closes the connection.
///
/// `Display` writes the kind and the text, or for [`RejectionKind::Error`] only the text. It escapes control
/// characters, because the text may come from a peer, and truncates a text to 4,096 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: RejectionKind,
    text: String,
    request: Option<Box<[u8]>>,
}

/// The maximum length in bytes of a request that a rejection has: it counts for no memory budget.
const MAX_REQUEST: usize = 64 << 10;

/// The kinds of rejections. The numbers are their codes in `WIRE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum RejectionKind {
    /// The function returned `Err`. It was executed.
    Error = 0x01,
    /// The request cannot be understood or is not allowed. It was not executed.
    BadRequest = 0x02,
    /// The request is larger than the server's `max_frame_len`. It was not executed.
    TooLarge = 0x03,
    /// The server cannot take the request now. It was not executed.
    Busy = 0x04,
    /// The function took too long and was dropped. It may have been executed in part.
    TimedOut = 0x05,
    /// The function panicked or was dropped, or its reply could not be sent.
    Failed = 0x06,
    /// The client has cancelled the request. It may have been executed, in part or not at all.
    Cancelled = 0x07,
    /// Any other code below `0x40`. It takes the place of one reply, and the request may have been
    /// executed.
    Unknown = 0x3f,
    /// The server closes the connection, usually because it is stopping. This kind is final, as are all below.
    GoingAway = 0x40,
    /// Nothing arrived within the server's `idle_timeout`, a frame exceeded `frame_timeout`, or the server needs the
    /// place of an idle connection (`at_capacity`).
    Idle = 0x41,
    /// The server has its maximum number of connections, or no descriptors for another one.
    TooManyConnections = 0x42,
    /// The bytes that arrived do not belong to the protocol of this port.
    ProtocolError = 0x43,
}

impl RejectionKind {
    /// Returns the code of this kind on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the kind that `code` means to a reader, or `None` for a notice (`0x80` to `0xff`).
    ///
    /// Any other code below `0x40` is [`Unknown`](Self::Unknown). Any other code from `0x40` to
    /// `0x7f` is [`GoingAway`](Self::GoingAway), because it is final too.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x01 => Self::Error,
            0x02 => Self::BadRequest,
            0x03 => Self::TooLarge,
            0x04 => Self::Busy,
            0x05 => Self::TimedOut,
            0x06 => Self::Failed,
            0x07 => Self::Cancelled,
            0x41 => Self::Idle,
            0x42 => Self::TooManyConnections,
            0x43 => Self::ProtocolError,
            0x40..=0x7f => Self::GoingAway,
            // Those are notices, which a reader skips. Below them, a code that is not known yet still says whether
            // it is final, so new kinds do not break old clients.
            0x80..=0xff => return None,
            _ => Self::Unknown,
        })
    }

    /// Returns `true` if the connection closes after a rejection of this kind.
    ///
    /// A request that was not answered before a final rejection was not executed and never will be.
    pub const fn is_final(self) -> bool {
        self.code() >= Self::GoingAway.code()
    }

    /// Returns `true` if a request that gets this rejection is known not to have been executed.
    pub const fn is_unexecuted(self) -> bool {
        self.is_final() || matches!(self, Self::BadRequest | Self::TooLarge | Self::Busy)
    }
}

impl RejectionKind {
    /// Returns `true` if a request that gets this rejection was not executed, and may be later or over another
    /// connection.
    pub(crate) const fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::GoingAway | Self::Idle | Self::TooManyConnections
        )
    }

    /// Returns the text that is shown for this kind.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::BadRequest => "bad request",
            Self::TooLarge => "too large",
            Self::Busy => "busy",
            Self::TimedOut => "timed out",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown rejection",
            Self::GoingAway => "going away",
            Self::Idle => "idle",
            Self::TooManyConnections => "too many connections",
            Self::ProtocolError => "protocol error",
        }
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rejection {
    /// The maximum length of a text on the wire in bytes.
    pub(crate) const MAX_TEXT: usize = 4_095;

    /// Creates a rejection of `kind` with a text for the peer.
    ///
    /// On the wire, the text is truncated to 4,095 bytes.
    pub fn new(kind: RejectionKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            text: text.into(),
            request: None,
        }))
    }

    /// Creates the function's own error: [`RejectionKind::Error`].
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::Error, text)
    }

    /// Creates a rejection of a request that cannot be understood or is not allowed:
    /// [`RejectionKind::BadRequest`].
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::BadRequest, text)
    }

    /// Creates a rejection of a request that cannot be taken now: [`RejectionKind::Busy`].
    pub fn busy(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::Busy, text)
    }

    /// Creates a rejection of a connection: [`RejectionKind::TooManyConnections`].
    pub(crate) fn too_many_connections(text: impl Into<String>) -> Self {
        Self::new(RejectionKind::TooManyConnections, text)
    }

    /// Returns the kind.
    pub fn kind(&self) -> RejectionKind {
        self.0.kind
    }

    /// Returns the text as it was given or received, not escaped.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns up to 64 KiB of the rejected request.
    ///
    /// Only [`reject_with`](crate::protocol::ServerProtocol::reject_with) gets these bytes, for a request that never
    /// reached the function. It can then answer with the id of the request, or not at all, as for memcached's
    /// `noreply`. The bytes are
    ///
    /// - the message, if it cannot be decoded or the server is *busy*;
    /// - what has arrived of it, with its header, if it is too large or no valid frame.
    ///
    /// Returns `None` for any other rejection.
    pub fn request(&self) -> Option<&[u8]> {
        self.0.request.as_deref()
    }

    /// Adds the request, unless nothing of it has arrived.
    #[cold]
    pub(crate) fn with_request(mut self, request: &[u8]) -> Self {
        if !request.is_empty() {
            // Enough for an id at its beginning. A message may be as large as `max_frame_len`, and is copied here.
            let request = request.get(..MAX_REQUEST).unwrap_or(request);
            self.0.request = Some(request.into());
        }
        self
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped::up_to(self.0.text.as_bytes(), MAX_SHOWN);
        match self.0.kind {
            kind if self.0.text.is_empty() => kind.fmt(f),
            // The text of a function's error says what it is.
            RejectionKind::Error => text.fmt(f),
            kind => write!(f, "{kind}: {text}"),
        }
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rejection")
            .field(&self.0.kind)
            .field(&self.0.text)
            .finish()
    }
}

impl std::error::Error for Rejection {}

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
        assert_eq!(rejection.to_string(), "a\\u{1b}[31m\\nb\\u{202e}");
    }

    #[test]
    fn rejection_is_one_pointer() {
        assert_eq!(size_of::<Rejection>(), size_of::<usize>());
    }
}
