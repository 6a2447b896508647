//! Postcard, by the crate of that name.

use postcard::{Deserializer, Error, Serializer, de_flavors::Flavor, ser_flavors::io::WriteFlavor};
use serde::{Deserialize, Serialize};

use super::{
    Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer,
    guard::{Guard, MAX_DEPTH, TRAILING},
};
use crate::{Response, text::Text};

mod serializer;

use self::serializer::CheckedSerializer;

/// Postcard, with the feature `postcard`: the most compact format, for programs in Rust.
///
/// A message consists of its values without names or types, so both ends need the same types, and adding a field
/// changes the protocol. The format is specified at
/// <https://postcard.jamesmunns.com/wire-format>.
///
/// Types with serde's `Serialize` can be sent, and types with `Deserialize` can be received. The
/// exceptions are types that need a self-describing format:
/// `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` and `serde_json::Value` cannot be
/// received. Neither can a struct with [fields that are left out](#fields-that-are-left-out).
///
/// | type | in bytes |
/// |---|---|
/// | integers of 16 bits and more | 7 bits in a byte, the lowest first; signed ones in zigzag |
/// | `u8`, `i8`, `bool`, floats | as they are, little-endian |
/// | text, `&[u8]`, lists, maps | the number of elements, then the elements |
/// | structs, tuples | the fields |
/// | an enum | the number of the variant, then its fields |
/// | `Option<T>` | 0, or 1 and the value |
/// | `Result<T, E>` | 0 and the value, or 1 and the error: [a value on both ends](crate::format#results) |
/// | `()` | nothing |
/// | [`Response<T>`](crate::Response) | `T`, which is also what the caller reads |
///
/// A message may contain any byte, so use a framing that sends the length, such as the default,
/// [`Prefixed`](crate::framing::Prefixed) or [`Netstrings`](crate::framing::Netstrings). With lines
/// and delimiters, some messages cannot be sent.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcs::{format::Postcard, server_protocol};
///
/// #[derive(Deserialize, Serialize)]
/// struct Sample<'a> {
///     sensor: &'a str, // borrowed from what arrived, as `raw` is
///     raw: &'a [u8],
/// }
///
/// #[server_protocol(format = Postcard)]
/// fn check(sample: Sample<'_>) -> Result<u64, String> {
///     match sample.raw {
///         [] => Err(format!("{} sent nothing", sample.sensor)),
///         raw => Ok(raw.iter().map(|byte| u64::from(*byte)).sum()),
///     }
/// }
/// ```
///
/// # Borrowing
///
/// `&str` and `&[u8]` are borrowed from the receive buffer. `Cow<str>` in a field is borrowed with
/// `#[serde(borrow)]`, and copied without it.
///
/// # Fields that are left out
///
/// Encoding a value fails if `#[serde(skip_serializing_if = …)]` leaves out a field, because the
/// reader would take the value that follows for that field. Other attributes leave values out in a
/// way that this library cannot detect, so do not use them:
///
/// - `#[serde(skip_serializing)]` or `#[serde(skip_deserializing)]` on a field. `#[serde(skip)]`,
///   which is both, is fine.
/// - `#[serde(skip_serializing_if = …)]` on a field without a name.
/// - `#[serde(skip)]` or `#[serde(skip_deserializing)]` on a variant that is not the last one: the
///   sender counts it, and the receiver does not.
///
/// # Errors
///
/// See [the errors of all formats](crate::format#errors). For Postcard:
///
/// - A message may nest 128 [levels](crate::format#nesting).
/// - The lists and maps of a message may claim at most as many elements as it has bytes. So a list
///   of values that take no bytes, such as `Vec<()>`, cannot be long.
/// - Encoding a list or a map that does not know its length in advance is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
pub enum Postcard {}

impl<T: Serialize> Encode<Postcard> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let max_text = out.room();
        let output = WriteFlavor::new(out);
        let inner = Serializer { output };
        self.serialize(&mut CheckedSerializer { inner, max_text })
            .map_err(|error| EncodeError::unsupported("Postcard", error))
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, Postcard> for T {
    #[inline]
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let bytes = frame.bytes();
        let guard = Guard::new(bytes.len(), MAX_DEPTH);
        let mut deserializer = Deserializer::from_flavor(Remaining(bytes));
        let value = guard.deserialize(&mut deserializer);
        // `Remaining` always returns the bytes that are left, even after an error.
        let rest = deserializer.finalize().unwrap_or_default();
        let place = bytes.len() - rest.len();
        match value {
            Ok(value) if rest.is_empty() => Ok(value),
            value => Err(decode_error(value.err().as_ref(), &guard, place)),
        }
    }
}

impl<'a, T: ReplyValue<'a, Postcard>, U> ReplyValue<'a, Postcard> for Response<T, U> {
    type Value = T::Value;
}

/// Returns the error for bytes that cannot be read beyond `place`.
#[cold]
fn decode_error(error: Option<&Error>, guard: &Guard<'_>, place: usize) -> DecodeError {
    let recorded = guard.context.take_reason();
    let reason = match error {
        None => TRAILING,
        Some(Error::DeserializeUnexpectedEnd) => "it ends too early",
        Some(Error::DeserializeBadVarint) => "an integer is too large for its type",
        Some(Error::DeserializeBadBool) => "a `bool` is neither 0 nor 1",
        Some(Error::DeserializeBadChar) => "a `char` is not one character",
        Some(Error::DeserializeBadUtf8) => "a text is not UTF-8",
        Some(Error::DeserializeBadOption) => "an option is neither 0 nor 1",
        Some(Error::WontImplement) => "the type needs a self-describing format",
        Some(Error::SerdeDeCustom) => recorded.as_ref().map_or("", Text::raw),
        Some(_) => "unexpected value",
    };
    DecodeError::malformed("Postcard", &format!(" at byte {place}"), reason)
}

/// The bytes of a message that are not read yet.
///
/// The crate's own type withholds the length of a list that claims more than the bytes that are
/// left. The guard needs the length, because a list of values that take no bytes never ends too
/// early.
struct Remaining<'a>(&'a [u8]);

impl<'a> Flavor<'a> for Remaining<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let split = self.0.split_first();
        let (first, rest) = split.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        borrow::Cow,
        cell::Cell,
        collections::BTreeMap,
        fmt::{self, Debug, Display},
    };

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::Postcard;
    use crate::format::{
        Encode, Writer, WriterState,
        test_support::{
            assert_borrowed, assert_consumes_all, decode, decode_err, encode, encode_err,
        },
        test_values::{Borrowing, Chain, Everything, Failing, Kind, Lists, Nest, everything},
    };

    /// Fails unless the crate reads the same value of `T`, or none.
    fn agree<'a, T>(bytes: &'a [u8]) -> Result<(), TestCaseError>
    where
        T: Deserialize<'a> + Debug + PartialEq,
    {
        let theirs = postcard::take_from_bytes::<T>(bytes).ok();
        let theirs = theirs.and_then(|(value, rest)| rest.is_empty().then_some(value));
        prop_assert_eq!(decode::<Postcard, T>(bytes).ok(), theirs);
        Ok(())
    }

    proptest! {
        #[test]
        fn messages_are_those_of_the_crate_and_come_back(value in everything()) {
            let bytes = encode::<Postcard, _>(&value);
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&value).expect("encodes"));
            prop_assert_eq!(decode::<Postcard, Everything>(&bytes), Ok(value));
        }

        #[test]
        fn any_bytes_are_read_as_the_crate_reads_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            agree::<(u16, i64, Vec<Kind>, Option<u32>)>(&bytes)?;
            agree::<(u128, i128)>(&bytes)?;
            agree::<(&str, &[u8], bool, f32, f64)>(&bytes)?;
        }

    }

    #[test]
    fn message_beyond_the_limit_is_counted_whole() {
        let value = (vec![1_u8; 300], u64::MAX, "text");
        let expected = postcard::to_allocvec(&value).expect("encodes");
        for (limit, outcome) in [
            (expected.len(), WriterState::Message),
            (expected.len() - 1, WriterState::TooLarge(expected.len())),
        ] {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, limit);
            Encode::<Postcard>::encode(&value, &mut writer).expect("encodes");
            assert_eq!(writer.into_state(), outcome);
            assert!(buffer.len() <= limit);
        }
    }

    #[test]
    fn text_that_is_displayed_is_a_text() {
        struct Shown(&'static str);
        impl Serialize for Shown {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&format_args!("{}-{}", self.0, 1))
            }
        }
        assert_eq!(encode::<Postcard, _>(Shown("añb")), b"\x06a\xc3\xb1b-1");
    }

    #[test]
    fn text_that_changes_between_two_displays_is_written_once() {
        struct Counting(Cell<usize>);
        impl Display for Counting {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.set(self.0.get() + 1);
                f.write_str(&"x".repeat(self.0.get()))
            }
        }
        impl Serialize for Counting {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        let bytes = encode::<Postcard, _>((Counting(Cell::new(0)), 7_u8));
        assert_eq!(decode::<Postcard, _>(&bytes), Ok(("x", 7_u8)));
    }

    #[test]
    fn text_that_is_displayed_is_stored_up_to_the_limit() {
        struct Long<'a>(&'a Cell<usize>);
        impl Display for Long<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (0..self.0.get()).try_for_each(|_| f.write_str("x"))
            }
        }
        impl Serialize for Long<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        let length = Cell::new(0);
        for (written, outcome) in [
            (9, WriterState::Message),
            (10, WriterState::TooLarge(11)),
            // The rest is not stored, so the message is only known to be too large.
            (10_000, WriterState::TooLarge(12)),
        ] {
            length.set(written);
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, 10);
            Encode::<Postcard>::encode(Long(&length), &mut writer).expect("encodes");
            assert_eq!(writer.into_state(), outcome);
        }
    }

    #[test]
    fn text_whose_display_fails_cannot_be_encoded() {
        struct Broken;
        impl Display for Broken {
            fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        impl Serialize for Broken {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        assert_eq!(
            encode_err::<Postcard, _>(Broken),
            "the value cannot be written as Postcard: its `Display` returned an error"
        );
    }

    #[test]
    fn lists_of_values_without_bytes_claim_no_more_than_the_message_has() {
        assert_eq!(decode::<Postcard, _>(b"\x01\x01"), Ok((vec![()], vec![()])));
        let claims = |bytes| decode_err::<Postcard, (Vec<()>, Vec<()>)>(bytes);
        for bytes in [
            b"\x02\x01".as_slice(),
            b"\x01\x02",
            b"\x80\x80\x80\x80\x10\0",
        ] {
            assert!(claims(bytes).contains("more than its length in bytes"));
        }
    }

    #[test]
    #[expect(clippy::zero_sized_map_values, reason = "an entry takes no bytes")]
    fn map_claims_no_more_entries_than_the_message_has_bytes() {
        let map = BTreeMap::from([((), ())]);
        assert_eq!(decode::<Postcard, BTreeMap<(), ()>>(b"\x01"), Ok(map));
        assert_eq!(
            decode_err::<Postcard, BTreeMap<(), ()>>(b"\x02"),
            "invalid Postcard at byte 1: its lists claim 2 elements, more than its length in bytes (1)"
        );
        // The second list claims fewer elements than the message has bytes, but not together with the first.
        assert_eq!(
            decode_err::<Postcard, (Vec<u8>, Vec<u8>)>(b"\x03abc\x04d"),
            "invalid Postcard at byte 5: its lists claim 7 elements, more than its length in bytes (6)"
        );
    }

    #[test]
    fn values_without_bytes_are_no_claim_if_they_are_in_the_type() {
        assert_eq!(encode::<Postcard, _>(((), [(); 3])), b"");
        assert_eq!(decode::<Postcard, ((), [(); 3])>(b""), Ok(((), [(); 3])));
    }

    #[test]
    fn text_is_borrowed() {
        let bytes = encode::<Postcard, _>(("Ann", Cow::Borrowed("a\nb"), b"xyz".as_slice()));
        let (value, raw) = decode::<Postcard, (Borrowing<'_>, &[u8])>(&bytes).expect("decodes");
        assert_borrowed(value.name, &bytes);
        assert!(matches!(value.note, Cow::Borrowed("a\nb")));
        assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
    }

    #[test]
    fn messages_are_read_whole() {
        assert_consumes_all::<Postcard, (u32, String)>(&encode::<Postcard, _>((1 << 30, "Ann")), 0);
    }

    #[derive(Debug, Deserialize)]
    #[serde(try_from = "u8")]
    struct Even;

    impl TryFrom<u8> for Even {
        type Error = String;

        fn try_from(number: u8) -> Result<Self, String> {
            if number.is_multiple_of(2) {
                Ok(Self)
            } else {
                Err(format!("{number} is odd\n"))
            }
        }
    }

    #[test]
    fn decode_error_says_where_and_why() {
        for (rejection, expected) in [
            (
                decode_err::<Postcard, (u8, u16)>(b"\x01"),
                "byte 1: it ends too early",
            ),
            (
                decode_err::<Postcard, u8>(b"\x01\x02"),
                "byte 1: trailing bytes after the value",
            ),
            (
                decode_err::<Postcard, (u8, bool)>(b"\x01\x02"),
                "byte 2: a `bool` is neither 0 nor 1",
            ),
            (
                decode_err::<Postcard, Option<u8>>(b"\x02"),
                "byte 1: an option is neither 0 nor 1",
            ),
            (
                decode_err::<Postcard, &str>(b"\x01\xff"),
                "byte 2: a text is not UTF-8",
            ),
            (
                decode_err::<Postcard, String>(b"\x01\xff"),
                "byte 2: a text is not UTF-8",
            ),
            (
                decode_err::<Postcard, char>(b"\x02ab"),
                "byte 3: a `char` is not one character",
            ),
            (
                decode_err::<Postcard, u16>(b"\xff\xff\x04"),
                "byte 3: an integer is too large for its type",
            ),
            (
                decode_err::<Postcard, u32>(b"\xff\xff\xff\xff\x10\0\0"),
                "byte 5: an integer is too large for its type",
            ),
            (
                decode_err::<Postcard, (u8, u64)>(
                    b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0",
                ),
                "byte 11: an integer is too large for its type",
            ),
            (
                decode_err::<Postcard, (u8, u64)>(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff"),
                "byte 9: it ends too early",
            ),
            (
                decode_err::<Postcard, Vec<u8>>(b"\xff\xff\xff\xff\x0f"),
                "byte 5: its lists claim 4294967295 elements, more than its length in bytes (5)",
            ),
            (
                decode_err::<Postcard, Kind>(b"\x04"),
                "byte 1: invalid value: integer `4`, expected variant index 0 <= i < 4",
            ),
            (
                decode_err::<Postcard, Vec<(u8, Even)>>(b"\x01\x09\x03"),
                "byte 3: 3 is odd\\n",
            ),
            (
                decode_err::<Postcard, std::net::IpAddr>(b"\x02"),
                "byte 1: invalid value: integer `2`, expected `V4` or `V6`",
            ),
        ] {
            assert_eq!(rejection, format!("invalid Postcard at {expected}"));
        }
        assert!(
            decode_err::<Postcard, serde_json::Value>(b"\x01")
                .ends_with("the type needs a self-describing format")
        );
    }

    #[test]
    fn endless_nesting_is_rejected() {
        assert_eq!(
            decode::<Postcard, Nest>(&encode::<Postcard, _>(Nest::of(128))),
            Ok(Nest::of(128))
        );
        let too_deep = "it nests deeper than 128 levels";
        assert!(
            decode_err::<Postcard, Nest>(&encode::<Postcard, _>(Nest::of(129))).ends_with(too_deep)
        );
        let deep = b"\x01".repeat(1 << 20);
        assert!(decode_err::<Postcard, Nest>(&deep).ends_with(too_deep));
        assert!(decode_err::<Postcard, Chain>(&deep).ends_with(too_deep));
        assert!(decode_err::<Postcard, Lists>(&deep).ends_with(too_deep));
    }

    #[test]
    fn value_that_cannot_be_encoded_says_why() {
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq((0..3).filter(|number| *number > 0))
            }
        }
        assert_eq!(
            encode_err::<Postcard, _>(Endless),
            "the value cannot be written as Postcard: a list or map does not know its length"
        );
        assert_eq!(
            encode_err::<Postcard, _>(Failing::NEW),
            "the value cannot be written as Postcard: not\\ntoday"
        );
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Gaps {
        first: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        second: Option<u8>,
        #[serde(skip)]
        never: u8,
        third: u8,
    }

    #[derive(Debug, Serialize)]
    enum Choice {
        Gaps {
            #[serde(skip_serializing_if = "String::is_empty")]
            text: String,
        },
    }

    #[test]
    fn field_that_is_left_out_for_its_value_cannot_be_encoded() {
        let gaps = |second| Gaps {
            first: 1,
            second,
            never: 0,
            third: 3,
        };
        let bytes = encode::<Postcard, _>(gaps(Some(2)));
        assert_eq!(bytes, b"\x01\x01\x02\x03");
        assert_eq!(decode::<Postcard, Gaps>(&bytes), Ok(gaps(Some(2))));
        let reason = "the value cannot be written as Postcard: it leaves out the field `second`";
        assert_eq!(encode_err::<Postcard, _>(gaps(None)), reason);
        assert_eq!(encode_err::<Postcard, _>((1, [Some(gaps(None))])), reason);
        let choice = |text: &str| Choice::Gaps { text: text.into() };
        assert_eq!(encode::<Postcard, _>(choice("a")), b"\x00\x01a");
        assert_eq!(
            encode_err::<Postcard, _>([(1, choice(""))]),
            "the value cannot be written as Postcard: it leaves out the field `text`"
        );
    }
}
