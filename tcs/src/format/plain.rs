//! Text and bytes as they are: the default format.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::NonZero,
    str::FromStr,
};

use bytes::Bytes;

use super::{Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer};
use crate::{Response, framing::Block, response::Upgrade};

/// The default format: UTF-8 text, or the bytes as they are.
///
/// | type | sent | read |
/// |---|---|---|
/// | `&str`, `String`, `Cow<str>`, `Box<str>`, `char` | UTF-8 | the whole frame, which must be UTF-8 |
/// | `&[u8]`, `Vec<u8>`, `Cow<[u8]>`, `Bytes`, `&[u8; N]`, `[u8; N]` | as they are | as they are |
/// | integers, floats, `bool`, IP and socket addresses | as `Display` writes them | the whole frame, as `FromStr` reads it |
/// | `()` | an empty message | an empty message |
/// | `fmt::Arguments` | as text, without a `String` in between | – |
/// | `Result<T, E>` | `T`, or the text of `E` as an error | `T`; an error arrives [as the framing allows](crate#an-err-of-the-function) |
///
/// For a type of your own with `Display` and `FromStr`, use [`plain!`](crate::format::plain).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
#[doc(alias("text", "utf8"))]
pub enum Plain {}

/// Implements [`Encode`](crate::format::Encode) and [`Decode`](crate::format::Decode) in the format
/// [`Plain`](crate::format::Plain) for types with `Display` and `FromStr`.
///
/// # Examples
///
/// ```
/// use std::{fmt, str::FromStr};
///
/// struct Celsius(f32);
///
/// impl fmt::Display for Celsius {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "{} °C", self.0)
///     }
/// }
///
/// impl FromStr for Celsius {
///     type Err = std::num::ParseFloatError;
///
///     fn from_str(text: &str) -> Result<Self, Self::Err> {
///         text.trim_end_matches("°C").trim_end().parse().map(Self)
///     }
/// }
///
/// tcs::format::plain!(Celsius);
///
/// #[tcs::server_protocol]
/// fn warmer(now: Celsius) -> Celsius {
///     Celsius(now.0 + 1.0)
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __plain {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::format::Encode<$crate::format::Plain> for $type {
            #[inline]
            fn encode(self, out: &mut $crate::format::Writer<'_>) -> ::core::result::Result<(), $crate::format::EncodeError> {
                $crate::format::Encode::<$crate::format::Plain>::encode(&self, out)
            }
        }

        impl $crate::format::Encode<$crate::format::Plain> for &$type {
            #[inline]
            fn encode(self, out: &mut $crate::format::Writer<'_>) -> ::core::result::Result<(), $crate::format::EncodeError> {
                $crate::format::Encode::<$crate::format::Plain>::encode(::core::format_args!("{self}"), out)
            }
        }

        impl $crate::format::Decode<'_, $crate::format::Plain> for $type {
            #[inline]
            fn decode(frame: $crate::format::Frame<'_>) -> ::core::result::Result<Self, $crate::format::DecodeError> {
                $crate::__private::parse_text::<$type>(&frame, ::core::stringify!($type))
            }
        }
    )+};
}

/// Reads a type that `plain!` names.
#[inline]
pub fn parse_text<T>(frame: &Frame<'_>, name: &str) -> Result<T, DecodeError>
where
    T: FromStr<Err: fmt::Display>,
{
    // The message names the type and quotes the beginning of the text, because the peer may be a person with `nc`.
    frame.text()?.parse().map_err(|error| {
        let excerpt = frame.excerpt();
        DecodeError::new(format_args!("`{excerpt}` is not a `{name}`: {error}"))
    })
}

/// Implements `Encode` for types that are already bytes.
macro_rules! plain_encode {
    ($([$($generics:tt)*] $type:ty, |$value:ident| $bytes:expr;)+) => {$(
        impl<$($generics)*> Encode<Plain> for $type {
            #[inline]
            fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
                let $value = &self;
                out.put($bytes);
                Ok(())
            }

            #[inline]
            fn plain_bytes(&self) -> Option<&[u8]> {
                let $value = self;
                Some($bytes)
            }
        }
    )+};
}

plain_encode! {
    [] &str, |text| text.as_bytes();
    [] &[u8], |bytes| bytes;
    [] (), |_nothing| b"";
    [const N: usize] [u8; N], |bytes| bytes.as_slice();
    [const N: usize] &[u8; N], |bytes| bytes.as_slice();
}

/// Implements `Encode` for types that dereference to text or bytes, by value and by reference.
macro_rules! plain_encode_deref {
    ($($type:ty),+ $(,)?) => {$(
        impl Encode<Plain> for $type {
            #[inline]
            fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
                Encode::<Plain>::encode(&*self, out)
            }
        }

        impl Encode<Plain> for &$type {
            #[inline]
            fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
                Encode::<Plain>::encode(&**self, out)
            }
        }
    )+};
}

plain_encode_deref! { String, Box<str>, Cow<'_, str>, Vec<u8>, Cow<'_, [u8]>, Bytes }

impl Encode<Plain> for fmt::Arguments<'_> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.write_fmt(self)
            .map_err(|_| EncodeError::new("its `Display` returned an error"))
    }
}

impl<T: Encode<Plain>, E: fmt::Display> Encode<Plain> for Result<T, E> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put_result(self)
    }

    const UPGRADES: bool = T::UPGRADES;

    fn take_upgrade<'a>(&mut self) -> Option<Upgrade<'a>>
    where
        Self: 'a,
    {
        // An `Err` is an ordinary reply, so there is no upgrade.
        self.as_mut().ok().and_then(T::take_upgrade)
    }
}

impl<'a, T: ReplyValue<'a, Plain>, U> ReplyValue<'a, Plain> for Response<T, U> {
    type Value = T::Value;
}

impl<'a, T: ReplyValue<'a, Plain>, E> ReplyValue<'a, Plain> for Result<T, E> {
    type Value = T::Value;
}

macro_rules! plain_decode {
    ($([$($generics:tt)*] $type:ty, |$frame:ident| $value:expr;)+) => {$(
        impl<'a, $($generics)*> Decode<'a, Plain> for $type {
            // With inlining, the frame stays in registers. Otherwise, this costs a tenth of a small request.
            #[inline(always)]
            fn decode($frame: Frame<'a>) -> Result<Self, DecodeError> {
                Ok($value)
            }
        }
    )+};
}

plain_decode! {
    [] &'a str, |frame| frame.text()?;
    [] String, |frame| frame.text()?.to_owned();
    [] Box<str>, |frame| frame.text()?.into();
    [] Cow<'a, str>, |frame| Cow::Borrowed(frame.text()?);
    [] &'a [u8], |frame| frame.bytes();
    [] Vec<u8>, |frame| frame.bytes().to_vec();
    [] Cow<'a, [u8]>, |frame| Cow::Borrowed(frame.bytes());
    [] Bytes, |frame| Bytes::copy_from_slice(frame.bytes());
    [const N: usize] &'a [u8; N], |frame| array(frame.bytes())?;
    [const N: usize] [u8; N], |frame| *array(frame.bytes())?;
    [] (), |frame| match frame.bytes().len() {
        0 => (),
        length => return Err(DecodeError::new(format_args!("expected an empty message, got {length} bytes"))),
    };
}

/// No type implements this trait, so that an error about a `Result` says what to write instead. The trait has a
/// lifetime, because rustc rejects a bound that it can decide at once.
#[diagnostic::on_unimplemented(
    message = "`Plain` does not read a `Result`: an `Err` arrives as a `tcs::Error`",
    label = "write the type of its `Ok` alone",
    note = "with `format = Json`, a `Result` is a message like any other"
)]
trait ReadsResult<'a> {}

#[doc(hidden)]
impl<'a, T, E> Decode<'a, Plain> for Result<T, E>
where
    Plain: ReadsResult<'a>,
{
    fn decode(_: Frame<'a>) -> Result<Self, DecodeError> {
        Err(DecodeError::new("a `Result` is not read"))
    }
}

#[inline]
fn array<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], DecodeError> {
    let length = bytes.len();
    let array = bytes.try_into();
    array.map_err(|_| DecodeError::new(format_args!("expected {N} bytes, got {length}")))
}

__plain! {
    bool, char, f32, f64,
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize,
    NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<usize>,
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
}

impl<'a> Decode<'a, Plain> for Block<'a> {
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let bytes = frame.bytes();
        let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
        let line = bytes.get(..end).unwrap_or(bytes);
        let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line));
        Ok(Self {
            line: line.map_err(DecodeError::new)?,
            block: bytes.get(end + 1..),
        })
    }
}

impl Encode<Plain> for Block<'_> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(self.line.as_bytes());
        if let Some(block) = self.block {
            out.put(b"\r\n");
            out.put(block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{
        WriterState,
        test_support::{decode, encode, encode_within},
    };

    #[test]
    fn block_is_what_follows_the_line() {
        for (bytes, line, block) in [
            ("put 3\r\nabc", "put 3", Some("abc")),
            ("put 0\r\n", "put 0", Some("")),
            ("get", "get", None),
        ] {
            let block = block.map(str::as_bytes);
            let decoded = Block::decode(Frame::new(bytes.as_bytes())).expect("a block");
            assert_eq!(decoded, Block { line, block });
            assert_eq!(encode::<Plain, _>(decoded), bytes.as_bytes());
        }
        let decoded = Block::decode(Frame::new(b"put 3\nabc")).expect("a block");
        assert_eq!(encode::<Plain, _>(decoded), b"put 3\r\nabc");
        assert!(Block::decode(Frame::new(b"\xff\r\nabc")).is_err());
    }

    #[test]
    fn messages_are_text_or_bytes_as_they_are() {
        assert_eq!(encode::<Plain, _>("añb"), "añb".as_bytes());
        assert_eq!(encode::<Plain, _>(-12_i8), b"-12");
        assert_eq!(encode::<Plain, _>(1.5_f64), b"1.5");
        assert_eq!(encode::<Plain, _>(true), b"true");
        assert_eq!(encode::<Plain, _>(b"\xff\n"), b"\xff\n");
        assert_eq!(encode::<Plain, _>(()), b"");
        assert_eq!(encode::<Plain, _>(Bytes::from_static(b"b")), b"b");
        assert_eq!(encode::<Plain, _>(format_args!("{}-{}", 1, 2)), b"1-2");
        assert_eq!(encode::<Plain, _>(Ipv4Addr::LOCALHOST), b"127.0.0.1");
    }

    #[test]
    fn error_is_no_message() {
        let error = (b"no".to_vec(), WriterState::Error(6..8));
        assert_eq!(encode_within::<Plain, _>(Err::<u8, _>("no"), 10), error);
        assert_eq!(
            encode_within::<Plain, _>(Ok::<_, &str>(7), 10),
            (b"7".to_vec(), WriterState::Message)
        );
    }

    #[test]
    fn messages_are_read_whole() {
        assert_eq!(decode::<Plain, &str>("ñ".as_bytes()), Ok("ñ"));
        assert_eq!(decode::<Plain, u8>(b"255"), Ok(255));
        assert_eq!(decode::<Plain, ()>(b""), Ok(()));
        assert_eq!(decode::<Plain, &[u8; 2]>(b"ab"), Ok(b"ab"));
        assert_eq!(decode::<Plain, char>("ß".as_bytes()), Ok('ß'));
        assert_eq!(
            decode::<Plain, SocketAddr>(b"[::1]:80"),
            Ok("[::1]:80".parse().expect("an address"))
        );
    }

    #[test]
    fn decode_error_says_why() {
        assert_eq!(
            decode::<Plain, &str>(b"ab\xff"),
            Err("the text is not UTF-8 after byte 2".to_owned())
        );
        assert_eq!(
            decode::<Plain, u8>(b"2\n56"),
            Err("`2\\n56` is not a `u8`: invalid digit found in string".to_owned())
        );
        assert_eq!(
            decode::<Plain, u8>(b" 1"),
            Err("` 1` is not a `u8`: invalid digit found in string".to_owned())
        );
        assert_eq!(
            decode::<Plain, ()>(b"x"),
            Err("expected an empty message, got 1 bytes".to_owned())
        );
        assert_eq!(
            decode::<Plain, [u8; 2]>(b"abc"),
            Err("expected 2 bytes, got 3".to_owned())
        );
    }
}
