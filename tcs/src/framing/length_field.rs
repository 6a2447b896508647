//! Messages with a length somewhere in their header, as in existing protocols.

use super::{FrameError, Framing, Input, ParsedFrame};

/// A length of 1 to 8 bytes anywhere in a header, then the rest of the frame: for existing binary protocols.
///
/// The parameter is a layout packed by [`LengthLayout::pack`], because const parameters cannot be structs:
/// `LengthField<{ length_field(2).offset(4).pack() }>`. [`length_field`] begins a layout, and the methods of
/// [`LengthLayout`] complete it, with the meaning that they have in Netty's `LengthFieldBasedFrameDecoder`:
///
/// | protocol | layout |
/// |---|---|
/// | Modbus TCP | `length_field(2).offset(4)` |
/// | Kafka | `length_field(4).skip(4)`, which is also [`Prefixed<4>`](super::Prefixed) |
/// | MySQL | `length_field(3).little_endian().adjustment(1)` |
/// | PostgreSQL, after the start-up | `length_field(4).offset(1).adjustment(-4)` |
/// | AMQP 1.0, SMPP | `length_field(4).adjustment(-4)` |
/// | MongoDB | `length_field(4).little_endian().adjustment(-4)` |
/// | BGP | `length_field(2).offset(16).adjustment(-18)` |
/// | Diameter | `length_field(3).offset(1).adjustment(-4)` |
/// | OpenFlow | `length_field(2).offset(2).adjustment(-4)` |
///
/// A message begins with its header, unless the layout skips it. The function writes a header with any length in it,
/// and the framing replaces the length with the right one. A function does not write skipped bytes: the framing sends
/// zeros for them, with the length if it is among them. If the header is the length alone,
/// [`Prefixed`](super::Prefixed) is shorter.
///
/// The text of a function's error must have a header. [`max_frame_len`](crate::server::Server::max_frame_len) bounds
/// the message, including its part of the header.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::{LengthField, length_field}, server_protocol};
///
/// // A type of one byte, a length of three, and the bytes that it counts.
/// type Records = LengthField<{ length_field(3).offset(1).pack() }>;
///
/// #[server_protocol(framing = Records)]
/// fn reverse(record: &[u8]) -> Vec<u8> {
///     let (header, body) = record.split_at(4);
///     [header, &body.iter().rev().copied().collect::<Vec<_>>()].concat()
/// }
///
/// let server = ConcurrentServer::new(Reverse).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `07 00 00 03 61 62 63` is sent, with the length filled in.
/// let mut connection = Connection::connect(addr).await?;
/// let reply = connection.call::<Reverse>(b"\x07\0\0\0abc").await?;
/// assert_eq!(reply, b"\x07\0\0\x03cba");
/// # Ok(())
/// # }
/// ```
///
/// Other numbers, and lengths of other widths, do not compile:
///
/// ```compile_fail,E0080
/// let stream = tokio::io::empty();
/// let connection = tcs::Connection::<tcs::framing::LengthField<2>>::over(stream);
/// ```
///
/// ```compile_fail,E0080
/// type Wide = tcs::framing::LengthField<{ tcs::framing::length_field(9).pack() }>;
/// let connection = tcs::Connection::<Wide>::over(tokio::io::empty());
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LengthField<const LAYOUT: u128>;

/// Where the length of a frame is, and what it counts: the parameter of [`LengthField`], once it is
/// [packed](Self::pack).
#[derive(Clone, Copy, Debug)]
pub struct LengthLayout {
    pub(super) width: usize,
    pub(super) offset: usize,
    pub(super) skip: usize,
    pub(super) adjustment: i32,
    pub(super) is_little_endian: bool,
}

/// Begins the layout of a [`LengthField`] with a length of `width` bytes, in big-endian order, at the start of the frame.
///
/// # Panics
///
/// Panics if `width` is not 1 to 8; at compile time, if used in a type.
#[must_use]
#[track_caller]
pub const fn length_field(width: usize) -> LengthLayout {
    assert!(
        matches!(width, 1..=8),
        "a length has 1 to 8 bytes: write `length_field(8)` or less"
    );
    LengthLayout {
        width,
        offset: 0,
        skip: 0,
        adjustment: 0,
        is_little_endian: false,
    }
}

/// Marks a packed layout, so that no number is a layout by accident.
const MARK: u128 = 0x6c65_6e67_7468 << 80;

impl LengthLayout {
    /// Sets how many bytes of the header precede the length. Default: 0.
    ///
    /// # Panics
    ///
    /// Panics if there are more than 65,535; at compile time, if used in a type.
    #[must_use]
    #[track_caller]
    pub const fn offset(mut self, bytes: usize) -> Self {
        assert!(bytes <= 0xffff, "a length begins within 65,535 bytes");
        self.offset = bytes;
        self
    }

    /// Declares that the least significant byte of the length comes first.
    #[must_use]
    pub const fn little_endian(mut self) -> Self {
        self.is_little_endian = true;
        self
    }

    /// Sets a number to add to the length. The sum is the number of bytes that follow the length. Default: 0.
    ///
    /// If the length counts the header as well, this is the negative length of the header.
    #[must_use]
    pub const fn adjustment(mut self, bytes: i32) -> Self {
        self.adjustment = bytes;
        self
    }

    /// Sets how many bytes at the start of the frame are no part of the message. Default: 0, so a message begins with
    /// its header.
    ///
    /// # Panics
    ///
    /// Panics if there are more than 65,535; at compile time, if used in a type.
    #[must_use]
    #[track_caller]
    pub const fn skip(mut self, bytes: usize) -> Self {
        assert!(bytes <= 0xffff, "at most 65,535 bytes are skipped");
        self.skip = bytes;
        self
    }

    /// Packs this layout into a number, for [`LengthField`].
    #[must_use]
    pub const fn pack(self) -> u128 {
        MARK | (self.adjustment.cast_unsigned() as u128) << 48
            | (self.skip as u128) << 32
            | (self.offset as u128) << 16
            | (self.is_little_endian as u128) << 8
            | self.width as u128
    }

    /// Returns the layout of a number that may be packed.
    #[expect(clippy::cast_possible_truncation, reason = "each part is masked")]
    const fn unpack(number: u128) -> Self {
        Self {
            width: (number & 0xff) as usize,
            is_little_endian: number >> 8 & 1 == 1,
            offset: (number >> 16 & 0xffff) as usize,
            skip: (number >> 32 & 0xffff) as usize,
            adjustment: ((number >> 48) as u32).cast_signed(),
        }
    }

    /// Returns the end of the length field. A frame is at least as long.
    const fn header(&self) -> usize {
        self.offset + self.width
    }

    /// Returns the number of bytes in a frame that the number in its header does not count.
    const fn uncounted(&self) -> i64 {
        signed(self.header()) + self.adjustment as i64
    }

    /// Returns the minimum length of a frame.
    const fn least(&self) -> usize {
        if self.skip > self.header() {
            self.skip
        } else {
            self.header()
        }
    }

    pub(super) const fn min_message_len(&self) -> usize {
        self.least() - self.skip
    }

    /// Returns the number in the header, once it is there.
    #[inline]
    fn number(&self, bytes: &[u8]) -> Option<u64> {
        let field = bytes.get(self.offset..self.header())?;
        let push = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_little_endian {
            field.iter().rev().fold(0, push)
        } else {
            field.iter().fold(0, push)
        })
    }

    /// Returns the length of the frame with this number.
    #[inline]
    fn frame_len_of(&self, number: u64) -> Option<usize> {
        // A sum below 0 becomes 0, which is below the least. A sum that overflows is beyond every limit.
        let length = number.saturating_add_signed(self.uncounted());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        (length >= self.least()).then_some(length)
    }

    #[inline]
    pub(super) fn parse(&self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some(number) = self.number(input.bytes()) else {
            return ParsedFrame::incomplete(input);
        };
        let Some(length) = self.frame_len_of(number) else {
            return Err(self.too_short(number));
        };
        ParsedFrame::counted(input, self.skip, length - self.skip)
    }

    #[cold]
    fn too_short(&self, number: u64) -> FrameError {
        let least = signed(self.least()) - self.uncounted();
        FrameError::malformed(format_args!("a length of {number}; the least is {least}"))
    }

    #[inline]
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        // The library writes the skipped part of the header. The rest of the header is in the message.
        out.resize(out.len() + self.skip, 0);
    }

    #[inline]
    pub(super) fn finish(&self, out: &mut [u8], start: usize) -> Result<(), FrameError> {
        let frame = out.get_mut(start..).unwrap_or_default();
        let length = frame.len();
        let max = u64::MAX >> (64 - 8 * self.width);
        let number = (length as u64).checked_add_signed(-self.uncounted());
        let (Some(number), true) = (number, length >= self.least()) else {
            return Err(self.unsendable(length));
        };
        if number > max {
            // This frame is longer than the maximum, so the maximum fits in a `usize`.
            let max = self.frame_len_of(max).unwrap_or(length) - self.skip;
            let length = length - self.skip;
            return Err(FrameError::length_overflow(length, max, 8 * self.width));
        }
        let field = frame.get_mut(self.offset..self.header());
        let field = field.unwrap_or_default();
        for (place, byte) in field.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        if !self.is_little_endian {
            field.reverse();
        }
        Ok(())
    }

    #[cold]
    fn unsendable(&self, length: usize) -> FrameError {
        let length = length.saturating_sub(self.skip);
        let least = signed(self.least()).max(self.uncounted()) - signed(self.skip);
        FrameError::unsendable(format_args!(
            "a message of {length} bytes; with its header, it has at least {least}"
        ))
    }
}

#[expect(clippy::cast_possible_wrap, reason = "headers are short")]
pub(super) const fn signed(bytes: usize) -> i64 {
    bytes as i64
}

impl<const LAYOUT: u128> LengthField<LAYOUT> {
    const PARTS: LengthLayout = LengthLayout::unpack(LAYOUT);
}

impl<const LAYOUT: u128> Framing for LengthField<LAYOUT> {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const MIN_MESSAGE_LEN: usize = Self::PARTS.min_message_len();
    const PARAMETER_ERROR: Option<&'static str> =
        // The compiler accepts any number as a const parameter, such as `LengthField<4>`. If unpacking and packing a
        // number changes it, the number is not a layout.
        if Self::PARTS.pack() == LAYOUT && matches!(Self::PARTS.width, 1..=8) {
                None
            } else {
                Some("this number is not a layout: write `LengthField<{ length_field(2).pack() }>`")
            };

    #[inline]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        Self::PARTS.parse(input)
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        Self::PARTS.begin(out);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        Self::PARTS.finish(out, start)
    }
}
