//! Messages with a length before each, as in existing protocols.

use super::{FrameError, Framing, Input, ParsedFrame, parsed::skip_or_reject};

/// A length of `WIDTH` bytes, then the message, without control frames: for existing protocols.
///
/// `WIDTH` is 1 to 4. The length is in big-endian order and counts the message. `OPTIONS` changes
/// that: [`LITTLE_ENDIAN`], [`INCLUDES_HEADER`], or both, as in
/// `Prefixed<2, { LITTLE_ENDIAN | INCLUDES_HEADER }>`, which does not compile without the braces. DNS
/// over TCP uses `Prefixed<2>`.
///
/// Messages use the whole range of the length, so there are no control frames: the text of a
/// function's error is sent as the reply, and after any other rejection the connection closes. A
/// message that is too long for the length cannot be sent. Between two programs of this library,
/// [`LengthPrefixed`](super::LengthPrefixed) carries more: it has control frames.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::{LITTLE_ENDIAN, Prefixed}, server_protocol};
///
/// #[server_protocol(framing = Prefixed<2, LITTLE_ENDIAN>)]
/// fn echo(bytes: &[u8]) -> &[u8] {
///     bytes
/// }
///
/// let server = ConcurrentServer::new(Echo).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `04 00 61 62 63 64` is sent, and received.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Echo>(b"abcd").await?, b"abcd");
/// # Ok(())
/// # }
/// ```
///
/// Other parameters do not compile:
///
/// ```compile_fail,E0080
/// let stream = tokio::io::empty();
/// let connection = tcs::Connection::<tcs::framing::Prefixed<8>>::over(stream);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Prefixed<const WIDTH: usize, const OPTIONS: u8 = 0>;

/// The option of [`Prefixed`] by which the least significant byte of the length comes first.
pub const LITTLE_ENDIAN: u8 = 1;

/// The option of [`Prefixed`] by which the length counts its own bytes as well as the message.
pub const INCLUDES_HEADER: u8 = 2;

impl<const WIDTH: usize, const OPTIONS: u8> Prefixed<WIDTH, OPTIONS> {
    const IS_LITTLE_ENDIAN: bool = OPTIONS & LITTLE_ENDIAN != 0;

    /// The number of its own bytes that a length counts.
    const COUNTED: usize = if OPTIONS & INCLUDES_HEADER == 0 {
        0
    } else {
        WIDTH
    };

    /// Returns the number in a header.
    #[inline]
    fn number(header: &[u8]) -> usize {
        let push = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
        if Self::IS_LITTLE_ENDIAN {
            header.iter().rev().fold(0, push)
        } else {
            header.iter().fold(0, push)
        }
    }

    /// The largest number that fits.
    const MAX: usize = usize::MAX >> (8 * (size_of::<usize>() - WIDTH));
}

impl<const WIDTH: usize, const OPTIONS: u8> Framing for Prefixed<WIDTH, OPTIONS> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const PARAMETER_ERROR: Option<&'static str> = match (WIDTH, OPTIONS) {
        (1..=4, 0..=3) => None,
        (1..=4, _) => Some("the options of `Prefixed` are `LITTLE_ENDIAN` and `INCLUDES_HEADER`"),
        _ => Some("the length in `Prefixed` has 1 to 4 bytes: write `Prefixed<4>` or less"),
    };

    fn frame_len(&self, bytes: &[u8]) -> Option<usize> {
        let length = Self::number(bytes.get(..WIDTH)?).checked_sub(Self::COUNTED)?;
        Some(WIDTH.saturating_add(length))
    }

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some((header, rest)) = input.bytes().split_at_checked(WIDTH) else {
            return ParsedFrame::incomplete(input);
        };
        let number = Self::number(header);
        let Some(length) = number.checked_sub(Self::COUNTED) else {
            return Err(FrameError::malformed(format_args!(
                "a length of {number}, which counts its own {WIDTH} bytes"
            )));
        };
        let end = WIDTH.saturating_add(length);
        if length > input.limit() {
            return skip_or_reject(length, input.limit(), end, input.ends_before(end));
        }
        if rest.len() < length {
            return ParsedFrame::incomplete(input);
        }
        Ok(Some(ParsedFrame::message(WIDTH..end, end)))
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.resize(out.len() + WIDTH, 0);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let end = start + WIDTH;
        let length = out.len().saturating_sub(end);
        let number = length + Self::COUNTED;
        if number > Self::MAX {
            let max = Self::MAX - Self::COUNTED;
            return Err(FrameError::length_overflow(length, max, 8 * WIDTH));
        }
        let header = out.get_mut(start..end).unwrap_or_default();
        for (place, byte) in header.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        if !Self::IS_LITTLE_ENDIAN {
            header.reverse();
        }
        Ok(())
    }
}
