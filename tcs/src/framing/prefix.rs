//! Messages with a length before each, as in existing protocols.
//!
//! This module has the parameters of [`Prefixed`]: the [`Width`] of the length, the [`Order`] of
//! its bytes, and the part of the frame that it counts ([`LengthOf`]).

use std::marker::PhantomData;

use super::{
    Framing,
    parse::{FrameError, ParsedFrame, Unparsed, beyond_limit},
};

/// A length of any width and order, then the message, without control frames: for existing protocols.
///
/// `W` is the width of the length: `u8`, `u16` or `u32`. `O` is the order of its bytes:
/// [`BigEndian`] (the default) or [`LittleEndian`]. `L` is the part of the frame that the length
/// counts: the message ([`ExcludesHeader`], the default), or the length and the message together
/// ([`IncludesHeader`]). DNS over TCP uses `Prefixed<u16>`. A plain big-endian length of four bytes
/// is `Prefixed<u32>`.
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
/// use tcs::{
///     ConcurrentServer, Connection, framing::{Prefixed, prefix::{IncludesHeader, LittleEndian}},
///     server_protocol,
/// };
///
/// #[server_protocol(framing = Prefixed<u16, LittleEndian, IncludesHeader>)]
/// fn echo(bytes: &[u8]) -> &[u8] {
///     bytes
/// }
///
/// let server = ConcurrentServer::new(Echo).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `06 00 61 62 63 64` is sent, and received.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Echo>(b"abcd").await?, b"abcd");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Prefixed<W, O = BigEndian, L = ExcludesHeader> {
    parameters: PhantomData<(W, O, L)>,
}

/// The most significant byte of a length comes first: network order.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BigEndian;

/// The least significant byte of a length comes first.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LittleEndian;

/// The length counts the message.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ExcludesHeader;

/// The length counts the whole frame: itself and the message.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct IncludesHeader;

/// The width of a length: that of `u8`, `u16` or `u32`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a width of a length",
    label = "no `Width`",
    note = "the widths of a `Prefixed` length are `u8`, `u16` and `u32`"
)]
pub trait Width: Default + Send + 'static {}

/// The order of the bytes of a length: [`BigEndian`] or [`LittleEndian`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a byte order",
    label = "no `Order`",
    note = "the orders of a `Prefixed` length are `BigEndian` and `LittleEndian`"
)]
pub trait Order: Default + Send + 'static {
    /// Whether the least significant byte comes first.
    ///
    /// Default: `false`.
    const IS_LITTLE: bool = false;
}

/// The part of a frame that a length counts: the message ([`ExcludesHeader`]), or the whole frame
/// ([`IncludesHeader`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a part that a length can count",
    label = "no `LengthOf`",
    note = "the length in a `Prefixed` frame is that of the message, `ExcludesHeader`, or of the whole frame, `IncludesHeader`"
)]
pub trait LengthOf: Default + Send + 'static {
    /// Whether the length counts itself, too.
    ///
    /// Default: `false`.
    const COUNTS_ITSELF: bool = false;
}

impl Width for u8 {}
impl Width for u16 {}
impl Width for u32 {}

impl Order for BigEndian {}
impl Order for LittleEndian {
    const IS_LITTLE: bool = true;
}

impl LengthOf for ExcludesHeader {}
impl LengthOf for IncludesHeader {
    const COUNTS_ITSELF: bool = true;
}

impl<W: Width, O: Order, L: LengthOf> Prefixed<W, O, L> {
    /// The length of a length in bytes.
    const HEADER: usize = size_of::<W>();

    /// The number of its own bytes that a length counts.
    const COUNTED: usize = if L::COUNTS_ITSELF { Self::HEADER } else { 0 };

    /// The largest number that fits.
    const MAX: usize = usize::MAX >> (8 * (size_of::<usize>() - Self::HEADER));

    #[cold]
    fn unsendable(length: usize) -> FrameError {
        let most = Self::MAX - Self::COUNTED;
        let bits = Self::HEADER * 8;
        FrameError::unsendable(format_args!(
            "a message of {length} bytes exceeds the {most} that a length of {bits} bits can say"
        ))
    }
}

impl<W: Width, O: Order, L: LengthOf> Framing for Prefixed<W, O, L> {
    #[inline]
    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let Some((header, rest)) = input.bytes().split_at_checked(Self::HEADER) else {
            return input.unfinished();
        };
        let push = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
        let number = if O::IS_LITTLE {
            header.iter().rev().fold(0, push)
        } else {
            header.iter().fold(0, push)
        };
        let Some(length) = number.checked_sub(Self::COUNTED) else {
            return Err(FrameError::malformed(format_args!(
                "a length of {number}, which counts its own {} bytes",
                Self::HEADER
            )));
        };
        let end = Self::HEADER.saturating_add(length);
        if length > input.limit() {
            return beyond_limit(length, input.limit(), input.read_state(), end);
        }
        if rest.len() < length {
            return input.unfinished();
        }
        Ok(Some(ParsedFrame::message(Self::HEADER..end, end)))
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.resize(out.len() + Self::HEADER, 0);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let end = start + Self::HEADER;
        let length = out.len().saturating_sub(end);
        let number = length + Self::COUNTED;
        if number > Self::MAX {
            return Err(Self::unsendable(length));
        }
        let header = out.get_mut(start..end).unwrap_or_default();
        for (place, byte) in header.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        if !O::IS_LITTLE {
            header.reverse();
        }
        Ok(())
    }
}
