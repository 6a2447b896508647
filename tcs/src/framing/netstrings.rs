//! Messages with a length in digits before each, and a comma after it.

use super::{
    FrameError, FrameKind, Framing, Input, ParsedFrame,
    digits::{parse_length, put_length},
    parse::skip_or_reject,
};

/// Netstrings: the length in decimal digits, a colon, the message, and a comma: `5:hello,`.
///
/// [D. J. Bernstein specified](https://cr.yp.to/proto/netstrings.txt) them; QMTP and SCGI use them.
/// A length has no leading zeros. A number beyond four times `max_frame_len` is rejected at
/// the digit that makes it too large.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Netstrings, server_protocol};
///
/// #[server_protocol(framing = Netstrings)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `3:Ann,` is sent, and `11:Hello, Ann!,` received.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Netstrings {
    /// Whether the next byte must be the comma of a message that was skipped.
    comma_is_due: bool,
}

impl Framing for Netstrings {
    const HAS_INDEPENDENT_FRAMES: bool = true;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if self.comma_is_due {
            // At the end of the input, a missing comma is no error: the message was rejected before, and a
            // second rejection would be taken for that of the next request.
            let Some(byte) = input.bytes().first() else {
                return Ok(None);
            };
            check_comma(*byte)?;
            self.comma_is_due = false;
            return Ok(Some(ParsedFrame::skip(1)));
        }
        let Some((length, start)) = parse_length(input.bytes(), input.limit(), b':')? else {
            return ParsedFrame::incomplete(input);
        };
        let parsed = parse_message(input, start, length)?;
        self.comma_is_due = matches!(&parsed, Some(frame) if frame.kind == FrameKind::Oversized);
        Ok(parsed)
    }

    fn frame_len(&self, bytes: &[u8]) -> Option<usize> {
        let (length, start) = parse_length(bytes, usize::MAX, b':').ok()??;
        Some(length.saturating_add(start + 1))
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        put_length(out, start, b':')?;
        out.push(b',');
        Ok(())
    }
}

/// Returns the message of `length` bytes that begins at `start`. One beyond the limit is skipped up
/// to its comma.
fn parse_message(
    input: Input<'_>,
    start: usize,
    length: usize,
) -> Result<Option<ParsedFrame>, FrameError> {
    let limit = input.limit();
    let Some(end) = start.checked_add(length).filter(|end| *end < usize::MAX) else {
        return Err(FrameError::too_large(length, limit));
    };
    if length > limit {
        // The comma is read on its own, because it has not arrived yet if the message is long.
        return skip_or_reject(length, limit, end, input.ends_before(end + 1));
    }
    match input.bytes().get(end) {
        Some(byte) => {
            check_comma(*byte)?;
            Ok(Some(ParsedFrame::message(start..end, end + 1)))
        }
        None => ParsedFrame::incomplete(input),
    }
}

fn check_comma(byte: u8) -> Result<(), FrameError> {
    match byte {
        b',' => Ok(()),
        other => Err(FrameError::unexpected(other, "`,` after the message")),
    }
}
