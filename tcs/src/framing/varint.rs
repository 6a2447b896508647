//! Messages with a length of variable width before each.

use super::{FrameError, Framing, Input, ParsedFrame, write::insert};

/// A length in bytes of 7 bits each, the least significant first (LEB128), and the message.
///
/// Delimited messages of Protocol Buffers and packets of Minecraft have such a length (both `Varint`). `HEADER` is the
/// number of bytes that precede the length. If there are any, as with MQTT (`Varint<1>`: type and flags, then the
/// *remaining length*), a message begins with them and the length. The function writes them too, and then any length,
/// such as a byte 0, which the framing replaces with the right one. So a function can send a packet of MQTT on as it
/// is. [`split`](Self::split) takes a packet apart.
///
/// A header has up to 64 bytes. A length has up to 5 bytes and 32 bits, as in Protocol Buffers. After a header, it has
/// up to 4 bytes and so 28 bits, as in MQTT. The framing reads a length of any width, and writes the shortest.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Varint, server_protocol};
///
/// /// Answers the pings of MQTT.
/// #[server_protocol(framing = Varint<1>)]
/// fn pong(packet: &[u8]) -> Result<&'static [u8], &'static str> {
///     match Varint::<1>::split(packet) {
///         Some(([0xc0], [])) => Ok(&[0xd0, 0]),
///         _ => Err("only PINGREQ"),
///     }
/// }
///
/// let server = ConcurrentServer::new(Pong).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Pong>(b"\xc0\0").await?, b"\xd0\0");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Varint<const HEADER: usize = 0>;

/// More than any protocol has. Without a maximum, sums with the length of a header could overflow.
const MAX_HEADER: usize = 64;

impl<const HEADER: usize> Varint<HEADER> {
    /// The maximum number of bytes of a length.
    const MAX_WIDTH: usize = if HEADER == 0 { 5 } else { 4 };
    /// The maximum number of bits of a length.
    const MAX_BITS: usize = if HEADER == 0 { 32 } else { 28 };
    const MAX_LENGTH: u64 = (1 << Self::MAX_BITS) - 1;

    /// Splits a message into its header of `HEADER` bytes and the bytes that its length counts.
    ///
    /// Returns `None` if there is no length between them. A received message always has one.
    pub fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
        if HEADER == 0 {
            return Some(message.split_at(0));
        }
        let (_, start) = Self::parse_length(message).ok()??;
        Some((message.get(..HEADER)?, message.get(start..)?))
    }

    /// Returns the length and where the bytes that it counts begin, or `None` if it is not complete.
    fn parse_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
        let mut length = 0_u64;
        for (at, byte) in bytes.iter().skip(HEADER).take(Self::MAX_WIDTH).enumerate() {
            length |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 && length <= Self::MAX_LENGTH {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                return Ok(Some((length, HEADER + at + 1)));
            }
        }
        // Fewer bytes may be the beginning of a length. This many bytes without an end are not a length, and more bytes
        // do not change that.
        if bytes.len() < HEADER + Self::MAX_WIDTH {
            return Ok(None);
        }
        Err(FrameError::malformed(format_args!(
            "a length beyond {} bits",
            Self::MAX_BITS
        )))
    }
}

impl<const HEADER: usize> Framing for Varint<HEADER> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const MIN_MESSAGE_LEN: usize = if HEADER == 0 { 0 } else { HEADER + 1 };
    const PARAMETER_ERROR: Option<&'static str> = if HEADER > MAX_HEADER {
        Some("the header before a length has at most 64 bytes: write `Varint<1>`")
    } else {
        None
    };

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match Self::parse_length(input.bytes())? {
            Some((length, start)) if HEADER == 0 => ParsedFrame::counted(input, start, length),
            Some((length, start)) => ParsedFrame::counted(input, 0, length.saturating_add(start)),
            None => ParsedFrame::incomplete(input),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let message = out.get(start..).unwrap_or_default();
        let room = match Self::parse_length(message) {
            _ if HEADER == 0 => 0,
            Ok(Some((_, end))) => end - HEADER,
            _ => {
                return Err(FrameError::unsendable(format_args!(
                    "a message of {} bytes without a header of {HEADER} bytes and a length",
                    message.len()
                )));
            }
        };
        let length = message.len() - HEADER - room;
        let mut rest = length as u64;
        if rest > Self::MAX_LENGTH {
            let most = usize::try_from(Self::MAX_LENGTH).unwrap_or(usize::MAX);
            return Err(FrameError::length_overflow(length, most, Self::MAX_BITS));
        }
        let at = start + HEADER;
        // The function wrote any length after the header. The right one may need more or fewer bytes.
        out.drain(at..at + room);
        insert(out, at, |out| {
            loop {
                let [low, ..] = rest.to_le_bytes();
                rest >>= 7;
                if rest == 0 {
                    return out.push(low);
                }
                out.push(low | 0x80);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_split_at_its_length() {
        assert_eq!(
            Varint::<1>::split(b"\x10\x83\x00abc"),
            Some((&b"\x10"[..], &b"abc"[..]))
        );
        assert_eq!(Varint::<1>::split(b"\x10\x83"), None);
        assert_eq!(Varint::<0>::split(b"abc"), Some((&b""[..], &b"abc"[..])));
    }
}
