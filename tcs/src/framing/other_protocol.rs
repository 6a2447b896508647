//! Protocols that peers speak by mistake, and the answers to them.

use std::fmt;

/// A protocol that a peer speaks by mistake.
///
/// A server detects it in the first bytes of each connection, unless its framing opts out
/// ([`Framing::DETECTS_OTHER_PROTOCOLS`](super::Framing::DETECTS_OTHER_PROTOCOLS)). It answers in
/// the peer's own protocol, and executes nothing that the peer sent. A framing that has opted out
/// can still call [`detect`](Self::detect) itself:
///
/// ```
/// use tcs::framing::{FrameError, OtherProtocol, Unparsed};
///
/// fn check(input: Unparsed<'_>) -> Result<(), FrameError> {
///     match OtherProtocol::detect(input.bytes()) {
///         Some(protocol) => Err(FrameError::other_protocol(protocol)),
///         None => Ok(()),
///     }
/// }
/// # let input = |bytes| Unparsed::new(bytes, 100, tcs::framing::Side::Server, tcs::framing::ReadState::Idle);
/// # assert!(check(input(b"Ann")).is_ok());
/// let error = check(input(b"GET / HTTP/1.1\r\n")).expect_err("it is a browser");
/// assert_eq!(error.to_string(), "that looks like HTTP");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherProtocol {
    /// HTTP/1, or the preface of HTTP/2. The peer gets a response, 400.
    Http,
    /// A TLS client hello. The peer gets an alert.
    Tls,
    /// SSH. The peer gets a line of text.
    Ssh,
    /// RESP, the protocol of Redis. The peer gets an error reply.
    Redis,
    /// A PROXY header of version 1 or 2, as load balancers send. The protocol has no way to answer,
    /// so the peer gets the same rejection as any other whose bytes are not a frame.
    Proxy,
}

impl fmt::Display for OtherProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Ssh => "SSH",
            Self::Redis => "Redis",
            Self::Proxy => "a PROXY header",
        })
    }
}

/// What to send to a peer that speaks another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// An answer in the protocol that the peer speaks.
    OtherProtocol(OtherProtocol),
    /// The peer sends text to a port that expects a length.
    ExpectsLength,
    /// The peer sends a length to a port that expects lines of text.
    ExpectsLines,
}

impl Notice {
    /// The notices that a client can tell from a reply, whatever it asked.
    ///
    /// The alert is not one of them: any server of TLS sends the same.
    const CERTAIN: [Self; 5] = [
        Self::ExpectsLength,
        Self::ExpectsLines,
        Self::OtherProtocol(OtherProtocol::Http),
        Self::OtherProtocol(OtherProtocol::Ssh),
        Self::OtherProtocol(OtherProtocol::Redis),
    ];

    /// Returns the notice that a server's first bytes begin with, or are the beginning of.
    ///
    /// Without `detects`, only the notices count that are of no protocol but this library's.
    pub(super) fn of_server(bytes: &[u8], detects: bool) -> Option<Self> {
        let is_own = |notice: &Self| matches!(notice, Self::ExpectsLength | Self::ExpectsLines);
        let mut notices = Self::CERTAIN.into_iter();
        notices.find(|notice| {
            let fits = notice.bytes().starts_with(bytes) || notice.is_complete(bytes);
            fits && (detects || is_own(notice))
        })
    }

    /// Returns `true` if `bytes` begin with the whole notice.
    pub(super) fn is_complete(self, bytes: &[u8]) -> bool {
        bytes.starts_with(self.bytes())
    }

    /// Appends the notice. Returns `false` if there is none.
    pub(super) fn write(self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.bytes());
        !self.bytes().is_empty()
    }

    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::OtherProtocol(protocol) => match protocol {
                // RFC 9112, section 3: a server that cannot parse the request line answers 400.
                OtherProtocol::Http => {
                    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
                    Content-Length: 31\r\nConnection: close\r\n\r\nThis port does not speak HTTP.\n"
                }
                // A fatal alert, *unexpected message* (RFC 8446, section 6.2).
                OtherProtocol::Tls => b"\x15\x03\x03\x00\x02\x02\x0a",
                // Lines may precede a server's version (RFC 4253, section 4.2).
                OtherProtocol::Ssh => b"This port does not speak SSH.\r\n",
                OtherProtocol::Redis => b"-ERR this port does not speak the protocol of Redis\r\n",
                OtherProtocol::Proxy => b"",
            },
            Self::ExpectsLength => {
                b"This port expects length-prefixed frames; to use it with nc, serve it with `framing = Lines`.\n"
            }
            // A control frame of `LengthPrefixed`, *protocol error*, written out, because this file
            // is below all framings. The vectors of `WIRE.md` check that it equals that framing's
            // output.
            Self::ExpectsLines => {
                b"\x80\0\0\x37\x43this port expects lines of text: use `framing = Lines`"
            }
        }
    }
}

/// Writes what a server says of itself.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProtocol(protocol) => write!(f, "does not speak {protocol}"),
            Self::ExpectsLength => f.write_str("expects length-prefixed frames"),
            Self::ExpectsLines => f.write_str("expects lines of text"),
        }
    }
}
