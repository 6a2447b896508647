//! The lines of Git's protocol.

use std::io::Write as _;

use super::{FrameError, Framing, Input, ParsedFrame};

/// A length of four hexadecimal digits, which counts itself, and the rest of the line: `000ahello\n`.
///
/// [Git's protocols](https://git-scm.com/docs/gitprotocol-common) are made of such *pkt-lines*. A message begins with the
/// digits, because three lines are digits without a length: `0000` (flush), `0001` (delimiter) and `0002` (end of the
/// response). The function writes four bytes in the place of the digits, and the framing fills them in: `0000hello\n`
/// is sent as `000ahello\n`. A message of four bytes is sent as it is, and must be `0000` to `0002`, or `0004`, an
/// empty line. A line has at most 65,520 bytes.
///
/// The text of a function's error must have room for the digits, as Git's `ERR` has (`0000ERR not found`).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Hex4, server_protocol};
///
/// #[server_protocol(framing = Hex4)]
/// fn echo(line: &str) -> &str {
///     line
/// }
///
/// let server = ConcurrentServer::new(Echo).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Echo>("0000done\n").await?, "0009done\n");
/// assert_eq!(connection.call::<Echo>("0000").await?, "0000");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Hex4;

/// The maximum length of a line, from Git's `LARGE_PACKET_MAX`.
const MAX_LINE: usize = 65_520;

const DIGITS_LEN: usize = 4;

/// Returns the length of a line with these digits.
fn line_len(digits: [u8; DIGITS_LEN]) -> Result<usize, FrameError> {
    let mut number = 0;
    for byte in digits {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(FrameError::unexpected(
                byte,
                "a hexadecimal digit of a length",
            ));
        };
        number = number << 4 | digit as usize;
    }
    match number {
        0..=2 => Ok(DIGITS_LEN),
        3 => Err(FrameError::malformed("the length 0003, which no line has")),
        4..=MAX_LINE => Ok(number),
        // This framing could not write such a line.
        _ => Err(FrameError::malformed(too_long(number))),
    }
}

fn too_long(length: usize) -> String {
    format!("a line of {length} bytes; it has at most {MAX_LINE}")
}

impl Framing for Hex4 {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const MIN_MESSAGE_LEN: usize = DIGITS_LEN;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().first_chunk() {
            Some(digits) => ParsedFrame::counted(input, 0, line_len(*digits)?),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let line = out.get_mut(start..).unwrap_or_default();
        let length = line.len();
        let Some((digits, rest)) = line.split_first_chunk_mut::<DIGITS_LEN>() else {
            return Err(FrameError::unsendable(format_args!(
                "a message of {length} bytes; a line has 4 digits"
            )));
        };
        match (&*digits, rest.len()) {
            (b"0000" | b"0001" | b"0002" | b"0004", 0) => return Ok(()),
            (_, 0) => {
                return Err(FrameError::unsendable(
                    "a line without bytes after its digits",
                ));
            }
            _ if length > MAX_LINE => return Err(FrameError::unsendable(too_long(length))),
            _ => {}
        }
        // A length of at most `MAX_LINE` has four digits, so this never fails.
        drop(write!(&mut digits[..], "{length:04x}"));
        Ok(())
    }
}
