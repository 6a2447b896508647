//! Messages with a length in digits before each.

use std::io::Write as _;

use super::{FrameError, Framing, Input, ParsedFrame, parse::SKIP_FACTOR, write::insert};
use crate::text::Escaped;

/// A length in decimal digits, the byte `END`, and the message: `5 hello`.
///
/// Syslog over TCP and TLS uses `Digits<b' '>` (octet counting, RFC 6587 and RFC 5425), and the strings of bencode are
/// `Digits<b':'>`. With a comma after the message, it is a [netstring](super::Netstrings). A length has no leading
/// zeros. A length of 0 is an empty message, which bencode has and syslog does not. A number beyond four times
/// `max_frame_len` is rejected at the digit that makes it too large.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Digits, server_protocol};
///
/// #[server_protocol(framing = Digits<b' '>)]
/// fn severity(message: &str) -> u8 {
///     let digits = message.strip_prefix('<').and_then(|rest| rest.split_once('>'));
///     digits.and_then(|(priority, _)| priority.parse().ok()).map_or(5, |priority: u8| priority % 8)
/// }
///
/// let server = ConcurrentServer::new(Severity).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `11 <34>1 - - -` is sent, and `1 2` received.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Severity>("<34>1 - - -").await?, 2);
/// # Ok(())
/// # }
/// ```
///
/// A digit cannot end a number, so this does not compile:
///
/// ```compile_fail,E0080
/// let stream = tokio::io::empty();
/// let connection = tcs::Connection::<tcs::framing::Digits<b'0'>>::over(stream);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Digits<const END: u8>;

impl<const END: u8> Framing for Digits<END> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const PARAMETER_ERROR: Option<&'static str> = if END.is_ascii_digit() {
        Some("a digit does not end a length: write `Digits<b' '>`")
    } else {
        None
    };

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match parse_length(input.bytes(), input.limit(), END)? {
            Some((length, start)) => ParsedFrame::counted(input, start, length),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        put_length(out, start, END)
    }
}

/// Puts the length of the message at the end of `out`, which begins at `start`, before it.
pub(super) fn put_length(out: &mut Vec<u8>, start: usize, end: u8) -> Result<(), FrameError> {
    let length = out.len().saturating_sub(start);
    insert(out, start, |out| {
        // Writing to a `Vec` never fails.
        drop(write!(out, "{length}"));
        out.push(end);
    })
}

/// Returns the length in digits and where the message begins, or `None` if the `end` of the digits has not arrived.
pub(super) fn parse_length(
    bytes: &[u8],
    limit: usize,
    end: u8,
) -> Result<Option<(usize, usize)>, FrameError> {
    let mut length = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        match *byte {
            other if other == end && at > 0 => return Ok(Some((length, at + 1))),
            b'0'..=b'9' if at == 1 && length == 0 => {
                return Err(FrameError::malformed("a length that begins with a zero"));
            }
            digit @ b'0'..=b'9' => {
                let value = usize::from(digit - b'0');
                length = length.saturating_mul(10).saturating_add(value);
                if length > limit.saturating_mul(SKIP_FACTOR) {
                    return Err(FrameError::too_large(length, limit));
                }
            }
            other if at == 0 => {
                return Err(FrameError::unexpected(other, "the digits of a length"));
            }
            other => {
                let end = [end];
                let expected = format!("a digit or `{}` in a length", Escaped::all(&end));
                return Err(FrameError::unexpected(other, expected));
            }
        }
    }
    Ok(None)
}
