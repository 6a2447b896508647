//! An echo for the clients of WebSocket (RFC 6455), such as browsers.
//!
//! ```text
//! cargo run -p tcs-examples --features websocket --example websocket
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. It leaves out: TLS (which is `.tls(…)`), paths, extensions,
//! subprotocols, reasons for closing, the code 1001 when the server stops, and the check of `Origin`, without which a page
//! of any site may connect.
//!
//! Try: open a console of a browser, and run
//!
//! ```text
//! s = new WebSocket("ws://localhost:1234"); s.onmessage = m => console.log(m.data); s.onopen = () => s.send("hello")
//! ```

use std::{collections::HashMap, iter::zip};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest as _, Sha1};
use tcs::{
    ConcurrentServer, Rejection, RejectionKind, Response,
    framing::{Detection, FrameError, Framing, Input, ParsedFrame},
    server_protocol,
};

const MAX_MESSAGE: usize = 1 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The head of a request of HTTP, and then frames. A message is the mask of a frame and what is masked.
#[derive(Clone, Copy)]
enum WebSocket {
    Http {
        searched: usize,
    },
    /// With the first byte of the last frame: whether it ends its message, and its kind.
    Frames(u8),
    /// A rejection has closed it.
    Closed,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self::Http { searched: 0 }
    }
}

impl Framing for WebSocket {
    // It would find HTTP.
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let frame = match self {
            Self::Http { searched } => {
                let end = input.find(b"\r\n\r\n", searched)?;
                return Ok(end.map(|end| ParsedFrame::message(0..end, end + 4)));
            }
            Self::Frames(first) => first,
            Self::Closed => return Err(FrameError::malformed("a frame after the close")),
        };
        let Some(&[first, second]) = input.need(2)? else {
            return Ok(None);
        };
        let (kind, length) = (first & 0x0f, second & 0x7f);
        let is_masked = second & 0x80 != 0;
        let is_bad_control = kind >= CLOSE && (first & 0x80 == 0 || length > 125);
        if !is_masked
            || first & 0x70 != 0
            || is_bad_control
            || !matches!(kind, 0..=2 | CLOSE..=PONG)
        {
            return Err(FrameError::malformed("this is no frame of a client"));
        }
        *frame = first;
        let start = match length {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let Some(header) = input.need(start)? else {
            return Ok(None);
        };
        let wide = header[2..]
            .iter()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let length = if start == 2 { length.into() } else { wide };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        ParsedFrame::counted(input, start, length.saturating_add(4))
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        let code: u16 = match rejection.kind() {
            RejectionKind::GoingAway => 1001,
            RejectionKind::ProtocolError => 1002,
            RejectionKind::TooLarge => 1009,
            _ => 1011,
        };
        match self {
            // There is no request that it could answer.
            Self::Http { .. } if code == 1001 => return false,
            Self::Http { .. } => out.extend(BAD_REQUEST),
            Self::Frames(_) => out.extend(frame(CLOSE, &code.to_be_bytes())),
            Self::Closed => return false,
        }
        *self = Self::Closed;
        true
    }
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

#[server_protocol(framing = WebSocket)]
fn websocket(
    message: &[u8],
    #[framing] framing: &mut WebSocket,
    #[session] begun: &mut Option<(u8, Vec<u8>)>,
) -> Response<Vec<u8>> {
    let WebSocket::Frames(first) = *framing else {
        let Some(reply) = accept(&String::from_utf8_lossy(message)) else {
            return Response::ReplyAndClose(BAD_REQUEST.to_vec());
        };
        *framing = WebSocket::Frames(0);
        return Response::Reply(reply.into_bytes());
    };
    let (mask, masked) = message.split_at(4);
    let data = zip(masked, mask.iter().cycle()).map(|(a, b)| a ^ b);
    match received(first, data.collect(), begun) {
        Ok(Some(reply)) => Response::Reply(reply),
        Ok(None) => Response::NoReply,
        Err(code) => Response::ReplyAndClose(frame(CLOSE, &code.to_be_bytes())),
    }
}

/// Returns the frame that answers another one, if any, or the code with which the connection closes.
fn received(
    first: u8,
    data: Vec<u8>,
    begun: &mut Option<(u8, Vec<u8>)>,
) -> Result<Option<Vec<u8>>, u16> {
    let (kind, message) = match (first & 0x0f, begun.take()) {
        (CLOSE, _) => {
            return Err(data
                .first_chunk()
                .map_or(1000, |it| u16::from_be_bytes(*it)));
        }
        (kind @ (PING | PONG), before) => {
            *begun = before;
            return Ok((kind == PING).then(|| frame(PONG, &data)));
        }
        (CONTINUATION, Some((kind, mut before))) => {
            before.extend(data);
            (kind, before)
        }
        (CONTINUATION, None) | (_, Some(_)) => return Err(1002),
        (kind, None) => (kind, data),
    };
    if message.len() > MAX_MESSAGE {
        return Err(1009);
    }
    if first & 0x80 == 0 {
        *begun = Some((kind, message));
        return Ok(None);
    }
    if kind == TEXT && str::from_utf8(&message).is_err() {
        return Err(1007);
    }
    Ok(Some(frame(kind, &message)))
}

/// Returns the reply to a head that asks for WebSocket.
fn accept(head: &str) -> Option<String> {
    let (line, headers) = head.split_once("\r\n")?;
    let headers = headers.split("\r\n").filter_map(|it| it.split_once(':'));
    let headers: HashMap<String, &str> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let is_upgrade = headers.get("upgrade")?.eq_ignore_ascii_case("websocket");
    let is_version = *headers.get("sec-websocket-version")? == "13";
    if !line.starts_with("GET ") || !line.ends_with(" HTTP/1.1") || !is_upgrade || !is_version {
        return None;
    }
    let key = headers.get("sec-websocket-key")?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: {}\r\n\r\n",
        BASE64_STANDARD.encode(digest)
    ))
}

/// A whole frame of the server, which is not masked.
fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
    let wide = (data.len() as u64).to_be_bytes();
    let length = match data.len() {
        0..126 => &wide[7..],
        126..65_536 => &[&[126], &wide[6..]].concat(),
        _ => &[&[127], &wide[..]].concat(),
    };
    [&[0x80 | kind], length, data].concat()
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Websocket)
        // With the mask.
        .max_frame_len(MAX_MESSAGE + 4)
        .run()
}
