//! Peers that speak another protocol, and what they are told.

use std::fmt;

use super::{
    Arrival, FrameError, Framing as _, LengthPrefixed, Side, Unparsed,
    sight::{METHODS, SIGNATURES, Sight, http, resp},
};
use crate::{Rejection, RejectionKind};

/// Another protocol, which a peer speaks by mistake.
///
/// All framings of this library look at the first bytes of a connection: an HTTP client, say, is
/// answered in its own terms, and nothing it sent is executed. A framing of your own can do the same:
///
/// ```
/// use tcs::{OtherProtocol, FrameError, Unparsed};
///
/// fn meet(input: Unparsed<'_>) -> Result<(), FrameError> {
///     match OtherProtocol::detect(input.bytes()) {
///         Some(foreign) => Err(FrameError::foreign(foreign)),
///         None => Ok(()),
///     }
/// }
/// # let input = |bytes| Unparsed::new(bytes, 100, tcs::Side::Server, tcs::Arrival::Paused);
/// # assert!(meet(input(b"Ann")).is_ok());
/// let error = meet(input(b"GET / HTTP/1.1\r\n")).expect_err("it is a browser");
/// assert_eq!(error.to_string(), "that looks like HTTP");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherProtocol {
    /// HTTP/1, or the preface of HTTP/2. It is told by a response, 400.
    Http,
    /// A TLS client hello. It is told by an alert.
    Tls,
    /// SSH. It is told by a line of text.
    Ssh,
    /// RESP, which clients of Redis speak. It is told by an error reply.
    Redis,
    /// A PROXY header, of version 1 or 2, as load balancers send. It is told as any other bytes
    /// that make no sense are.
    Proxy,
}

/// What a peer that is rejected is told, beyond the refusals of its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    OtherProtocol(OtherProtocol),
    /// To lines of text, at a port where a length is expected.
    Text,
    /// To a length, at a port where lines of text are expected.
    Length,
}

impl OtherProtocol {
    /// Recognises a protocol by the first bytes that a client has sent.
    ///
    /// It is strict, so that nothing else is taken for it: a whole HTTP request line up to its
    /// version, a client hello whose lengths agree, `SSH-2.0-`, a RESP array up to the length of its
    /// first string, or a PROXY header.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        match Sight::of(bytes) {
            Sight::Clear(foreign) => Some(foreign),
            Sight::Long => Some(Self::Http),
            Sight::None | Sight::Maybe => None,
        }
    }

    /// Guesses what a server speaks whose first bytes are no frame.
    pub(super) fn of_server(bytes: &[u8]) -> Option<Self> {
        let starts = |starts: &[&[u8]]| starts.iter().any(|start| bytes.starts_with(start));
        if starts(&[b"HTTP"]) {
            return Some(Self::Http);
        }
        if starts(&[b"SSH-"]) {
            return Some(Self::Ssh);
        }
        if starts(&[b"-ERR", b"-NOA", b"-DEN"]) {
            return Some(Self::Redis);
        }
        // An alert: what a server says to a client that speaks no TLS (RFC 8446, section 5.1).
        (starts(&[b"\x15\x03"]) && matches!(bytes.get(2..5), Some([0..=4, 0, 2])))
            .then_some(Self::Tls)
    }

    /// Guesses what a client speaks that has sent text where none can stand.
    fn of_text(start: &[u8]) -> Option<Self> {
        let is = |signature: &[u8]| signature.get(..4) == Some(start);
        if METHODS.iter().any(|method| is(method)) {
            return Some(Self::Http);
        }
        if let Some((_, foreign)) = SIGNATURES.iter().find(|(signature, _)| is(signature)) {
            return Some(*foreign);
        }
        (resp(start) == Sight::Maybe).then_some(Self::Redis)
    }

    /// Tells whether a line is an HTTP request line, whatever its length.
    pub(super) fn is_http_request_line(line: &[u8]) -> bool {
        http(line, usize::MAX) == Sight::Clear(Self::Http)
    }
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

/// Appends what the peer is told in its own terms; not all are.
pub(super) fn answer(out: &mut Vec<u8>, words: Words) -> bool {
    const HTTP: &str = "This port does not speak HTTP.\n";
    let words: &[u8] = match words {
        // RFC 9112, section 3: a server that cannot parse the request line answers 400.
        Words::OtherProtocol(OtherProtocol::Http) => {
            out.extend_from_slice(
                format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{HTTP}",
                    HTTP.len()
                )
                .as_bytes(),
            );
            return true;
        }
        // A fatal alert, *unexpected message* (RFC 8446, section 6.2).
        Words::OtherProtocol(OtherProtocol::Tls) => b"\x15\x03\x03\x00\x02\x02\x0a",
        // Lines may stand before a server's version (RFC 4253, section 4.2).
        Words::OtherProtocol(OtherProtocol::Ssh) => b"This port does not speak SSH.\r\n",
        Words::OtherProtocol(OtherProtocol::Redis) => b"-ERR this port does not speak the protocol of Redis\r\n",
        Words::OtherProtocol(OtherProtocol::Proxy) => return false,
        Words::Length => {
            let text = "this port expects lines of text: use `framing = Lines`";
            let refusal = Rejection::new(RejectionKind::ProtocolError, text);
            return LengthPrefixed::default().reject(out, &refusal);
        }
        Words::Text => {
            b"This port expects length-prefixed frames; to use it with nc, serve it with `framing = Lines`.\n"
        }
    };
    out.extend_from_slice(words);
    true
}

/// Finds a length where the first line of text should begin.
///
/// Text has no zero byte, and the length of a message below 16 MiB begins with one.
pub(super) fn refuse_length(input: Unparsed<'_>) -> Result<(), FrameError> {
    if input.side() == Side::Server && input.bytes().starts_with(&[0]) {
        return Err(FrameError::told(
            Words::Length,
            "that looks like length-prefixed frames, and this port expects lines of text",
        ));
    }
    Ok(())
}

/// Finds text where the first length of a length-prefixed stream should stand.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`,
/// so it is no length. Four bytes, or a line, tell what it is.
pub(super) fn refuse_text(input: Unparsed<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    if !matches!(bytes.first(), Some(b' '..=b'~')) {
        return Ok(());
    }
    let start = bytes.get(..4).unwrap_or(bytes);
    let complete = start.len() == 4 || start.contains(&b'\n') || input.arrival() == Arrival::Ended;
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if !complete || !start.iter().all(printable) {
        return Ok(());
    }
    if input.side() == Side::Client {
        let seen = crate::rejection::Escaped(start, 4);
        return Err(FrameError::malformed(format_args!(
            "the server sent text (`{seen}`) where a length stands: it does not speak length-prefixed frames"
        )));
    }
    Err(match OtherProtocol::of_text(start) {
        Some(foreign) => FrameError::foreign(foreign),
        None => FrameError::told(
            Words::Text,
            "that looks like text, and this port expects length-prefixed frames",
        ),
    })
}
