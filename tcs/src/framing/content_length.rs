//! Headers that tell the length of the message.

use std::io::Write as _;

use super::{FrameError, Framing, Input, ParsedFrame, parse::OVERHEAD, write::insert};
use crate::text::Escaped;

/// Headers with a `Content-Length`, an empty line, and the message: for the Language Server Protocol, the Debug Adapter
/// Protocol, and JSON-RPC over streams.
///
/// Each header is a line that ends with `\r\n`. Names are compared without case, and other headers are ignored. Headers
/// without a length, or with two, end the connection: if two programs took different lengths, a peer could smuggle
/// requests. This framing writes `Content-Length: 2\r\n\r\n{}`.
///
/// A message of up to four times `max_frame_len` is skipped. Headers have at most 1,024 bytes, which do not count.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::ContentLength, server_protocol};
///
/// #[server_protocol(framing = ContentLength)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `Content-Length: 3\r\n\r\nAnn` is sent.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ContentLength {
    searched: usize,
    /// The start and the length of the message, once its headers have arrived.
    message: Option<(usize, usize)>,
}

const HEADERS_END: &[u8] = b"\r\n\r\n";

impl Framing for ContentLength {
    const HAS_INDEPENDENT_FRAMES: bool = true;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let (start, length) = if let Some(message) = self.message {
            message
        } else {
            // The limit of the input applies only to the message.
            let unlimited = Input::new(input.bytes(), usize::MAX, input.side(), input.read_state());
            let end = unlimited.find(HEADERS_END, &mut self.searched)?;
            // The last three bytes may be a part of the end.
            if end.unwrap_or(input.bytes().len().saturating_sub(3)) > OVERHEAD {
                return Err(FrameError::malformed(format_args!(
                    "headers of more than {OVERHEAD} bytes"
                )));
            }
            let Some(end) = end else {
                return Ok(None);
            };
            let headers = input.bytes().get(..end).unwrap_or_default();
            (end + HEADERS_END.len(), parse_headers(headers)?)
        };
        let parsed = ParsedFrame::counted(input, start, length);
        self.message = matches!(parsed, Ok(None)).then_some((start, length));
        parsed
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let length = out.len().saturating_sub(start);
        // Writing to a `Vec` never fails.
        insert(out, start, |out| {
            drop(write!(out, "Content-Length: {length}\r\n\r\n"));
        })
    }
}

/// Returns the length in headers that `\r\n` separates.
fn parse_headers(headers: &[u8]) -> Result<usize, FrameError> {
    let text = str::from_utf8(headers);
    let text = text.map_err(|_| FrameError::malformed("headers that are not UTF-8"))?;
    let mut length = None;
    for header in text.split("\r\n") {
        let Some((name, value)) = header.split_once(':') else {
            let header = Escaped::up_to(header.as_bytes(), 64);
            return Err(FrameError::malformed(format_args!(
                "`{header}` is no header: it has no `:`"
            )));
        };
        // Other programs may trim the name, or end a line at `\n` alone, and would then read another length.
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name || value.contains(['\r', '\n']) {
            return Err(FrameError::malformed(format_args!(
                "`{}` is no header: a name has neither spaces nor control characters, and a value no line end",
                Escaped::up_to(header.as_bytes(), 64)
            )));
        }
        if !name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let value = value.trim_matches([' ', '\t']);
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || length.is_some() {
            let text = "a message has one `Content-Length`, which is a number";
            return Err(FrameError::malformed(text));
        }
        // A number that does not fit is too large in any case.
        length = Some(value.parse().unwrap_or(usize::MAX));
    }
    length.ok_or_else(|| FrameError::malformed("headers without `Content-Length`"))
}
