//! Peers that speak another protocol, and what they are told.

use super::{Arrival, FrameError, Framing as _, Input, LengthPrefixed, Side, Told};
use crate::{Refusal, RefusalKind};

/// What a peer seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// HTTP/1.
    Http,
    /// Lines of text, at a port where a length is expected.
    Text,
    /// A length, at a port where lines of text are expected.
    Length,
}

/// Appends one sentence in the peer's own terms.
pub(crate) fn answer(out: &mut Vec<u8>, foreign: Foreign) -> Told {
    const HTTP: &str = "This port does not speak HTTP.\n";
    match foreign {
        // RFC 9112, section 3: a server that cannot parse the request line answers 400.
        Foreign::Http => out.extend_from_slice(
            format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{HTTP}",
                HTTP.len()
            )
            .as_bytes(),
        ),
        Foreign::Length => {
            let text = "this port expects lines of text: use `framing = Lines`";
            let refusal = Refusal::new(RefusalKind::ProtocolError, text);
            return LengthPrefixed::default().refuse(out, &refusal);
        }
        Foreign::Text => out.extend_from_slice(
            b"This port expects length-prefixed frames; to use it with nc, serve it with `framing = Lines`.\n",
        ),
    }
    Told::Yes
}

/// Tells whether what arrived first begins with an HTTP request line.
///
/// A web page can make a browser post to any port of the machine, with lines of its choice in the
/// body, so nothing behind such a line may be executed on a framing that reads text. The page also
/// chooses how long the line is.
pub(crate) fn refuse_http(input: Input<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    if input.side() == Side::Server && is_http_request_line(line) {
        return Err(http());
    }
    Ok(())
}

/// Finds a length where the first line of text should begin.
///
/// Text has no zero byte, and the length of a message below 16 MiB begins with one.
pub(crate) fn refuse_length(input: Input<'_>) -> Result<(), FrameError> {
    if input.side() == Side::Server && input.bytes().starts_with(&[0]) {
        return Err(FrameError::foreign(
            Foreign::Length,
            "that looks like length-prefixed frames, and this port expects lines of text",
        ));
    }
    Ok(())
}

fn http() -> FrameError {
    FrameError::foreign(Foreign::Http, "that looks like HTTP")
}

/// `METHOD target HTTP/1.1`, with or without a carriage return (RFC 9112, section 3).
fn is_http_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(_target)) = (parts.next(), parts.next()) else {
        return false;
    };
    let version = parts.next_back().unwrap_or_default();
    !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) && version.starts_with(b"HTTP/")
}

/// Finds text where the first length of a length-prefixed stream should stand.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`,
/// so it is no length. Four bytes, or a line, tell what it is.
pub(crate) fn refuse_text(bytes: &[u8], side: Side, arrival: Arrival) -> Result<(), FrameError> {
    if !matches!(bytes.first(), Some(b' '..=b'~')) {
        return Ok(());
    }
    let start = bytes.get(..4).unwrap_or(bytes);
    let complete = start.len() == 4 || start.contains(&b'\n') || arrival == Arrival::Ended;
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if !complete || !start.iter().all(printable) {
        return Ok(());
    }
    if side == Side::Client {
        let seen = crate::refusal::Escaped(start, 4);
        return Err(FrameError::malformed(format_args!(
            "the server sent text (`{seen}`) where a length stands: it does not speak length-prefixed frames"
        )));
    }
    let methods: [&[u8]; 10] = [
        b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"CONN", b"OPTI", b"TRAC", b"PATC", b"PRI ",
    ];
    if methods.contains(&start) {
        return Err(http());
    }
    Err(FrameError::foreign(
        Foreign::Text,
        "that looks like text, and this port expects length-prefixed frames",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_recognised() {
        for line in [
            "GET / HTTP/1.1",
            "POST /a HTTP/1.0\r",
            "PRI * HTTP/2.0",
            "OPTIONS * HTTP/1.1\r",
            "GET /a b HTTP/1.1",
        ] {
            assert!(is_http_request_line(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "GET",
            "GET /",
            "GET / HTTP",
            "get / HTTP/1.1",
            "HTTP/1.1 200 OK",
            " / HTTP/1.1",
        ] {
            assert!(!is_http_request_line(line.as_bytes()), "{line}");
        }
    }
}
