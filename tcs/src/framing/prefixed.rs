//! Messages with a length before each, as in existing protocols.

use super::{FrameError, Framing, Input, LengthLayout, ParsedFrame};

/// A length of `WIDTH` bytes, then the message, without control frames: for existing protocols.
///
/// `WIDTH` is 1 to 4. The length is in big-endian order and counts the message. `OPTIONS` changes
/// that: [`LITTLE_ENDIAN`], [`INCLUDES_HEADER`], or both, as in
/// `Prefixed<2, { LITTLE_ENDIAN | INCLUDES_HEADER }>`, which does not compile without the braces. DNS
/// over TCP uses `Prefixed<2>`.
///
/// A message that is too long for the length cannot be sent. Between two programs of this library,
/// [`LengthPrefixed`](super::LengthPrefixed) carries more: it has control frames. If the header has more than the
/// length, use [`LengthField`](super::LengthField).
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
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "it is at most 4"
    )]
    const LAYOUT: LengthLayout = LengthLayout {
        width: WIDTH,
        offset: 0,
        skip: WIDTH,
        adjustment: if OPTIONS & INCLUDES_HEADER == 0 {
            0
        } else {
            -(WIDTH as i32)
        },
        is_little_endian: OPTIONS & LITTLE_ENDIAN != 0,
    };
}

impl<const WIDTH: usize, const OPTIONS: u8> Framing for Prefixed<WIDTH, OPTIONS> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const PARAMETER_ERROR: Option<&'static str> = match (WIDTH, OPTIONS) {
        (1..=4, 0..=3) => None,
        (1..=4, _) => Some("the options of `Prefixed` are `LITTLE_ENDIAN` and `INCLUDES_HEADER`"),
        _ => Some("the length in `Prefixed` has 1 to 4 bytes: write `Prefixed<4>` or less"),
    };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        Self::LAYOUT.parse(input)
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        Self::LAYOUT.begin(out);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        Self::LAYOUT.finish(out, start)
    }
}
