//! Messages with a length in digits before each, and a comma after it.

use super::{
    FrameError, Framing, Input, ParsedFrame,
    digits::{parse_length, put_length},
    parse::{skip_or_reject, skip_terminator},
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
    /// The bytes that must come next, after a message that was skipped.
    terminator: &'static [u8],
}

const COMMA: &[u8] = b",";

/// What the errors of this framing expect.
const EXPECTED: &str = "`,` after the message";

impl Framing for Netstrings {
    const HAS_INDEPENDENT_FRAMES: bool = true;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        if !self.terminator.is_empty() {
            return skip_terminator(&mut self.terminator, input, EXPECTED);
        }
        let limit = input.limit();
        let Some((length, start)) = parse_length(input.bytes(), limit, b':')? else {
            return ParsedFrame::incomplete(input);
        };
        let Some(end) = start.checked_add(length).filter(|end| *end < usize::MAX) else {
            return Err(FrameError::too_large(length, limit));
        };
        let consumed = end + COMMA.len();
        if length > limit {
            let skipped = skip_or_reject(length, limit, end, input.ends_before(consumed))?;
            self.terminator = COMMA;
            return Ok(skipped);
        }
        match input.bytes().get(end) {
            Some(b',') => Ok(Some(ParsedFrame::message(start..end, consumed))),
            Some(other) => Err(FrameError::unexpected(*other, EXPECTED)),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        put_length(out, start, b':')?;
        out.push(b',');
        Ok(())
    }
}
