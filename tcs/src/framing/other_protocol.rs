//! Protocols that peers speak by mistake, and all answers of a server to such peers.

use std::fmt;

/// A protocol that a peer speaks by mistake.
///
/// A server detects it in the first bytes of each connection, unless its framing opts out
/// ([`Detection::OFF`](super::Detection::OFF)). It answers in the peer's own protocol, and executes
/// nothing that the peer sent. A framing that has opted out can still call [`detect`](Self::detect)
/// itself:
///
/// ```
/// use tcs::framing::{FrameError, OtherProtocol, Input};
///
/// fn check(input: Input<'_>) -> Result<(), FrameError> {
///     match OtherProtocol::detect(input.bytes()) {
///         Some(protocol) => Err(FrameError::other_protocol(protocol)),
///         None => Ok(()),
///     }
/// }
/// # let input = |bytes| Input::new(bytes, 100, tcs::framing::Side::Server, tcs::framing::ReadState::Idle);
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

impl OtherProtocol {
    /// Guesses the protocol of a server whose first bytes are not a frame.
    pub(super) fn guess_server(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'H', b'T', b'T', b'P', ..] => Some(Self::Http),
            [b'S', b'S', b'H', b'-', ..] => Some(Self::Ssh),
            // `-ERR`, `-NOAUTH`, `-DENIED`.
            [b'-', b'E', b'R', b'R', ..]
            | [b'-', b'N', b'O', b'A', ..]
            | [b'-', b'D', b'E', b'N', ..] => Some(Self::Redis),
            _ => None,
        }
    }

    /// Returns the answer to a client of this protocol, or `None` for a PROXY header, which has no answer.
    pub(super) const fn answer(self) -> Option<&'static [u8]> {
        match self {
            Self::Http => Some(HTTP_ANSWER),
            // A fatal alert, *unexpected message* (RFC 8446, section 6.2).
            Self::Tls => Some(b"\x15\x03\x03\x00\x02\x02\x0a"),
            Self::Ssh => Some(SSH_ANSWER),
            Self::Redis => Some(REDIS_ANSWER),
            Self::Proxy => None,
        }
    }
}

/// RFC 9112, section 3: a server that cannot parse the request line answers 400.
const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 31\r\nConnection: close\r\n\r\nThis port does not speak HTTP.\n";

/// Lines may precede a server's version (RFC 4253, section 4.2).
const SSH_ANSWER: &[u8] = b"This port does not speak SSH.\r\n";

const REDIS_ANSWER: &[u8] = b"-ERR this port does not speak the protocol of Redis\r\n";

/// The answer of a server of length-prefixed frames to a client that sends text in the place of the first length.
pub(super) const EXPECTS_LENGTH: &[u8] =
    b"This port expects length-prefixed frames; to use it with nc, serve it with `framing = Lines`.\n";

/// The answer of a server of lines to a client that sends a length in the place of the first line: a control frame of
/// [`LengthPrefixed`](super::LengthPrefixed), *protocol error*. The vectors of `WIRE.md` check that it equals the
/// output of that framing.
pub(super) const EXPECTS_LINES: &[u8] =
    b"\x80\0\0\x37\x43this port expects lines of text: use `framing = Lines`";

/// The answers to clients of another framing of this library, and what the server says with them.
pub(super) const ANSWERS_TO_FRAMINGS: [(&[u8], &str); 2] = [
    (EXPECTS_LENGTH, "expects length-prefixed frames"),
    (EXPECTS_LINES, "expects lines of text"),
];

/// The answers to clients of other protocols, and what the server says with them.
///
/// The alert for TLS is not among them, because any server of TLS sends the same.
pub(super) const ANSWERS_TO_PROTOCOLS: [(&[u8], &str); 3] = [
    (HTTP_ANSWER, "does not speak HTTP"),
    (SSH_ANSWER, "does not speak SSH"),
    (REDIS_ANSWER, "does not speak Redis"),
];
