//! `MessagePack`, by `rmp-serde`.

use std::borrow::Cow;

use rmp_serde::{Deserializer, Serializer, config::BytesMode, decode::Error, encode};
use serde::{Deserialize, Serialize};

use super::{
    Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer,
    guard::{Guard, MAX_DEPTH, TRAILING},
};
use crate::Response;

/// `MessagePack`, with the feature `messagepack`: what JSON can express, in fewer bytes.
///
/// The format is specified at <https://msgpack.org>. Types with serde's `Serialize` can be sent,
/// and types with `Deserialize` can be received.
///
/// | type | as `MessagePack` |
/// |---|---|
/// | integers, floats, `bool`, text | the `MessagePack` type of the same kind |
/// | a struct | a map from the names of its fields; an array in the order of the fields is read as well |
/// | `&[u8]`, `Vec<u8>`, `Cow<[u8]>` | `bin`, or an empty array if there are none; `Vec<u8>` is read from any array as well |
/// | a tuple, another list | an array |
/// | an enum | the name of the variant, or a map from the name to its contents |
/// | `Option<T>` | the value, or nil |
/// | `()` | nil |
/// | a unit struct | an empty array |
/// | `Result<T, E>` | `{"Ok": …}` or `{"Err": …}`: [a value on both ends](crate::format#results) |
/// | `i128`, `u128` | 16 bytes of `bin`, big-endian; an integer is read as well. As a `u128`, a negative integer wraps around |
/// | [`Response<T>`](crate::Response) | `T`, which is also what the caller reads |
///
/// Because a struct is a map, other languages read a dictionary, and you can add fields. `Some` of
/// a value that is nil, such as `Some(None)` and `Some(())`, is nil too, and arrives as `None`.
///
/// A message may contain any byte, so use a framing that sends the length, such as the default,
/// [`Prefixed`](crate::framing::Prefixed) or [`Netstrings`](crate::framing::Netstrings). With lines
/// and delimiters, some messages cannot be sent.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcs::{format::MessagePack, server_protocol};
///
/// #[derive(Deserialize, Serialize)]
/// struct Image<'a> {
///     name: &'a str, // borrowed from what arrived, as `pixels` is
///     pixels: &'a [u8],
/// }
///
/// #[server_protocol(format = MessagePack)]
/// fn crop(image: Image<'_>) -> Result<Image<'_>, String> {
///     let pixels = image.pixels.get(..64).ok_or("it is too small")?;
///     Ok(Image { pixels, ..image })
/// }
/// ```
///
/// # Borrowing
///
/// `&str` and `&[u8]` are borrowed from the receive buffer. `Cow<str>` in a field is borrowed with
/// `#[serde(borrow)]`, and copied without it.
///
/// Types with `#[serde(untagged)]`, `#[serde(tag = …)]` or `#[serde(flatten)]` get bytes as an array
/// of numbers. So `Vec<u8>` can be read in them, and `&[u8]` cannot.
///
/// Text can be read as `&[u8]` and as a borrowed `Cow<[u8]>`, even if it is not UTF-8, but not as `Vec<u8>`.
/// In the types above, text that is not UTF-8 is an array of numbers, as bytes are.
///
/// If a list begins with a `u8` and continues with another type, as a list of an untagged enum may,
/// the message is encoded a second time, with bytes as arrays. `Vec<u8>` is read from these, and
/// `&[u8]` is not.
///
/// # Errors
///
/// See [the errors of all formats](crate::format#errors) and the limits of
/// [some serde attributes](crate::format#serde-attributes). For `MessagePack`:
///
/// - A message may nest 128 [levels](crate::format#nesting).
/// - The lists and maps of a message may claim at most as many elements as it has bytes.
/// - A number that is too large for an `f32` is an error.
/// - Types may ignore the errors of fewer than 65,000 lists, maps and other nested values.
/// - The message of an error has the path of the element: `/2/0` is element 0 of element 2, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
#[doc(alias("msgpack", "rmp"))]
pub enum MessagePack {}

/// The number of failed values at which a message is rejected. `rmp-serde` has 65,535 levels, and loses one with each
/// list or map that fails. Without levels, `rmp-serde` would fail at the beginning of a valid list, and read its
/// elements as the values after the list.
const MAX_FAILURES: usize = 65_000;

impl<T: Serialize> Encode<MessagePack> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut write = |bytes| {
            out.attempt(|out| {
                let serializer = Serializer::new(out).with_struct_map();
                self.serialize(&mut serializer.with_bytes(bytes))
            })
        };
        let mut written = write(BytesMode::ForceIterables);
        // The crate has taken a list for bytes because it begins with a `u8`.
        if matches!(written, Err(encode::Error::InvalidDataModel(_))) {
            written = write(BytesMode::Normal);
        }
        written.map_err(|error| EncodeError::unsupported("MessagePack", error))
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, MessagePack> for T {
    #[inline]
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let bytes = frame.bytes();
        let guard = Guard::new(bytes.len(), MAX_DEPTH).with_max_failures(MAX_FAILURES);
        let mut deserializer = Deserializer::from_read_ref(bytes);
        // The guard limits the depth. `rmp-serde` counts each error that a type ignores as a level that never
        // ends, so its own limit would reject a message with 1,024 of them. This sets the maximum, 65,535.
        deserializer.set_max_depth(usize::MAX);
        let value = guard.deserialize(&mut deserializer);
        let value = value.map_err(|error| decode_error(&error, &guard))?;
        // `rmp-serde` does not say whether bytes are left. At the end, a further read fails with this error.
        match bool::deserialize(&mut deserializer) {
            Err(Error::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(DecodeError::malformed("MessagePack", "", TRAILING)),
        }
    }
}

impl<'a, T: ReplyValue<'a, MessagePack>, U> ReplyValue<'a, MessagePack> for Response<T, U> {
    type Value = T::Value;
}

/// Returns the error for a message that cannot be read.
#[cold]
fn decode_error(error: &Error, guard: &Guard<'_>) -> DecodeError {
    let path = guard.context.path();
    // The crate's own texts speak of its reader and its markers, which mean nothing to a peer.
    let reason: Cow<'_, str> = match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "it ends too early".into(),
        Error::TypeMismatch(marker) => format!("unexpected {}", kind_of(marker.to_u8())).into(),
        Error::OutOfRange => "a number is too large for its type".into(),
        Error::LengthMismatch(_) => "a list or map has another length than its type".into(),
        Error::Utf8Error(_) => "a text is not UTF-8".into(),
        error => error.to_string().into(),
    };
    DecodeError::malformed("MessagePack", &format!(" at {path}"), &reason)
}

/// Returns the kind of value that begins with this byte.
const fn kind_of(marker: u8) -> &'static str {
    match marker {
        0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => "integer",
        0x80..=0x8f | 0xde..=0xdf => "map",
        0x90..=0x9f | 0xdc..=0xdd => "list",
        0xa0..=0xbf | 0xd9..=0xdb => "text",
        0xc0 => "nil",
        0xc2..=0xc3 => "boolean",
        0xc4..=0xc6 => "bytes",
        0xca..=0xcb => "float",
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => "extension",
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

    use proptest::prelude::*;
    use serde::{Deserialize, Deserializer};

    use super::MessagePack;
    use crate::format::{
        Encode, Writer, WriterState,
        test_support::{
            assert_borrowed, assert_consumes_all, decode, decode_err, encode, encode_err,
        },
        test_values::{Borrowing, Chain, Everything, Failing, Kept, Kind, Lists, Nest, everything},
    };

    proptest! {
        #[test]
        fn messages_come_back(value in everything()) {
            let bytes = encode::<MessagePack, _>(&value);
            prop_assert_eq!(decode::<MessagePack, Everything>(&bytes), Ok(value));
        }

        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            drop(decode::<MessagePack, Everything>(&bytes));
            drop(decode::<MessagePack, serde_json::Value>(&bytes));
        }
    }

    #[test]
    fn structs_are_maps_and_bytes_are_bytes() {
        let value = Borrowing {
            name: "Ann",
            note: "x".into(),
        };
        assert_eq!(
            encode::<MessagePack, _>(&value),
            b"\x82\xa4name\xa3Ann\xa4note\xa1x"
        );
        assert_eq!(
            decode::<MessagePack, Borrowing<'_>>(b"\x92\xa3Ann\xa1x"),
            Ok(value)
        );
        assert_eq!(encode::<MessagePack, _>(b"ab".as_slice()), b"\xc4\x02ab");
        assert_eq!(
            decode::<MessagePack, &[u8]>(b"\xc4\x02ab"),
            Ok(b"ab".as_slice())
        );
        assert_eq!(
            decode::<MessagePack, Vec<u8>>(b"\xc4\x02ab"),
            Ok(b"ab".to_vec())
        );
        assert_eq!(
            decode::<MessagePack, Vec<u8>>(b"\x92ab"),
            Ok(b"ab".to_vec())
        );
        assert_eq!(
            encode::<MessagePack, _>([Ok(1), Err("no")]),
            b"\x92\x81\xa2Ok\x01\x81\xa3Err\xa2no"
        );
        assert_eq!(encode::<MessagePack, _>([Kind::Unit]), b"\x91\xa4Unit");
    }

    #[test]
    fn list_that_begins_with_a_byte_may_continue_with_anything() {
        let value = (vec![b'a'], vec![Kept::Byte(1), Kept::Text("x".into())]);
        let expected = b"\x92\x91a\x92\x01\xa1x";
        assert_eq!(decode::<MessagePack, _>(expected), Ok(value.clone()));
        for limit in 0..9 {
            let mut buffer = b"before".to_vec();
            let mut writer = Writer::new(&mut buffer, limit);
            writer.put(b"1");
            Encode::<MessagePack>::encode(&value, &mut writer).expect("encodes");
            let outcome = writer.into_state();
            if limit < 8 {
                assert_eq!(outcome, WriterState::TooLarge(8));
            } else {
                assert_eq!(outcome, WriterState::Message);
                assert_eq!(buffer, [b"before1".as_slice(), expected].concat());
            }
        }
    }

    #[test]
    fn limit_holds_for_the_second_encoding_only() {
        let value = (
            vec![vec![b'a']; 10],
            vec![Kept::Byte(1), Kept::Text("x".into())],
        );
        // With each list as bytes, it is 35 bytes; as it is sent, 26.
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, 30);
        Encode::<MessagePack>::encode(&value, &mut writer).expect("encodes");
        assert_eq!(writer.into_state(), WriterState::Message);
        assert_eq!(buffer.len(), 26);
    }

    #[test]
    fn text_is_borrowed() {
        let bytes = encode::<MessagePack, _>(Borrowing {
            name: "Ann",
            note: "a\nb".into(),
        });
        let value = decode::<MessagePack, Borrowing<'_>>(&bytes).expect("decodes");
        assert_borrowed(value.name, &bytes);
        assert!(matches!(value.note, Cow::Borrowed("a\nb")));
    }

    #[test]
    fn messages_are_read_whole() {
        for more in [0, 0xc0, 0xc1, 0xff] {
            assert_consumes_all::<MessagePack, (u32, String)>(
                b"\x92\xce\x01\x02\x03\x04\xa3Ann",
                more,
            );
            assert_consumes_all::<MessagePack, Kind>(b"\xa4Unit", more);
            assert_consumes_all::<MessagePack, Option<Option<u8>>>(b"\xcc\x99", more);
        }
    }

    #[test]
    fn decode_error_says_where_and_why() {
        for (rejection, expected) in [
            (decode_err::<MessagePack, u8>(b""), "/: it ends too early"),
            (
                decode_err::<MessagePack, (u8, Vec<u8>)>(b"\x92\x01\x92\x01"),
                "/1/1: it ends too early",
            ),
            (
                decode_err::<MessagePack, (u8, bool)>(b"\x92\x01\xa1x"),
                "/1: unexpected text",
            ),
            (
                decode_err::<MessagePack, Vec<Kind>>(b"\x91\xa5a\x1b[2J"),
                "/0: unknown variant `a\\u{1b}[2J`, expected one of `Unit`, `One`, `Two`, `Named`",
            ),
            (
                decode_err::<MessagePack, Vec<u8>>(b"\xdd\xff\xff\xff\xff\x01"),
                "/: its lists claim 4294967295 elements, more than its length in bytes (6)",
            ),
        ] {
            assert_eq!(rejection, format!("invalid MessagePack at {expected}"));
        }
        assert_eq!(
            decode_err::<MessagePack, u8>(b"\x01\x02"),
            "invalid MessagePack: trailing bytes after the value"
        );
    }

    /// A list of `bool`, which is empty if anything else arrives.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Lenient(Vec<bool>);

    impl<'a> Deserialize<'a> for Lenient {
        fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            let list = Deserialize::deserialize(deserializer);
            Ok(Self(list.unwrap_or_default()))
        }
    }

    type Map<T> = BTreeMap<T, bool>;

    #[test]
    fn path_leads_to_the_error_of_the_message() {
        let not_bool = "invalid type: integer `1`, expected a boolean";
        let not_text = "invalid type: integer `1`, expected a string";
        for (rejection, path, reason) in [
            (
                decode_err::<MessagePack, Map<String>>(b"\x82\xa1a\xc3\xa1b\x01"),
                "/1",
                not_bool,
            ),
            (
                decode_err::<MessagePack, Map<String>>(b"\x82\xa1a\xc3\x01\xc3"),
                "/1",
                not_text,
            ),
            (
                decode_err::<MessagePack, (u8, Map<u8>)>(b"\x92\x01\x81\x01\x01"),
                "/1/0",
                not_bool,
            ),
            // The type ignores an error in the element, key or value that precedes.
            (
                decode_err::<MessagePack, (Lenient, bool)>(b"\x92\x91\x01\x01"),
                "/1",
                not_bool,
            ),
            (
                decode_err::<MessagePack, (Vec<Lenient>, bool)>(b"\x92\x91\x91\x01\x01"),
                "/1",
                not_bool,
            ),
            (
                decode_err::<MessagePack, Map<Lenient>>(b"\x81\x91\x01\x01"),
                "/0",
                not_bool,
            ),
            (
                decode_err::<MessagePack, (BTreeMap<u8, Lenient>, bool)>(
                    b"\x92\x81\x01\x91\x01\x01",
                ),
                "/1",
                not_bool,
            ),
        ] {
            assert_eq!(
                rejection,
                format!("invalid MessagePack at {path}: {reason}")
            );
        }
    }

    #[test]
    fn errors_that_a_type_ignores_cost_nothing() {
        // More than the 1,024 levels that `rmp-serde` allows by itself.
        let lists = [b"\x92\xdc\x04\xb0".as_slice(), &b"\x91\x01".repeat(1_200)].concat();
        let bytes = [lists.as_slice(), b"\xc3"].concat();
        let nothing = (0..1_200).map(|_| Lenient(Vec::new())).collect();
        assert_eq!(
            decode::<MessagePack, (Vec<Lenient>, bool)>(&bytes),
            Ok((nothing, true))
        );
        let bytes = [lists.as_slice(), b"\x91\x01"].concat();
        assert_eq!(
            decode_err::<MessagePack, (Vec<Lenient>, Vec<bool>)>(&bytes),
            "invalid MessagePack at /1/0: invalid type: integer `1`, expected a boolean"
        );
    }

    #[test]
    fn message_with_too_many_ignored_errors_is_rejected() {
        let lists = |count: u32, list: &[u8]| {
            let [header, count_bytes] = [b"\xdd".as_slice(), &count.to_be_bytes()];
            [header, count_bytes, &list.repeat(count as usize)].concat()
        };
        let read = decode::<MessagePack, Vec<Lenient>>(&lists(64_999, b"\x91\x01"));
        assert_eq!(read.map(|lists| lists.len()), Ok(64_999));
        let too_many = "invalid MessagePack at /: it has too many errors that its types ignore";
        for count in [65_000, 65_600, 140_000] {
            let bytes = lists(count, b"\x91\x01");
            assert_eq!(decode_err::<MessagePack, Vec<Lenient>>(&bytes), too_many);
            // The list ignores this error as well.
            assert_eq!(
                decode_err::<MessagePack, Ignoring<Vec<Lenient>>>(&bytes),
                too_many
            );
        }
        // A map without a field of its struct has no element that is wrong.
        let maps = lists(140_000, b"\x80");
        assert_eq!(
            decode_err::<MessagePack, Vec<Ignoring<Borrowing<'_>>>>(&maps),
            too_many
        );
        let right = decode::<MessagePack, Vec<Lenient>>(&lists(70_000, b"\x91\xc3"));
        assert!(right.is_ok_and(|lists| lists.iter().all(|list| list.0 == [true])));
    }

    /// Ignores whether a `T` arrives.
    #[derive(Debug)]
    struct Ignoring<T>(PhantomData<T>);

    impl<'a, T: Deserialize<'a>> Deserialize<'a> for Ignoring<T> {
        fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            drop(T::deserialize(deserializer));
            Ok(Self(PhantomData))
        }
    }

    /// The specification lets a reader get the bytes of such a text, which a type must ask for.
    #[test]
    fn text_that_is_not_utf8_is_read_as_bytes_only() {
        let text = b"\xa3a\xffb".as_slice();
        let not_text = "invalid MessagePack at /: a text is not UTF-8";
        assert_eq!(decode::<MessagePack, &[u8]>(text), Ok(b"a\xffb".as_slice()));
        assert_eq!(decode_err::<MessagePack, String>(text), not_text);
        assert_eq!(decode_err::<MessagePack, Vec<u8>>(text), not_text);
        assert_eq!(decode_err::<MessagePack, Map<String>>(text), not_text);
        // A type that takes any value gets it as it gets bytes.
        let raw = Kept::Raw(b"a\xffb".to_vec());
        assert_eq!(decode::<MessagePack, Kept>(text), Ok(raw));
    }

    #[test]
    fn endless_nesting_is_rejected() {
        let too_deep = "it nests deeper than 128 levels";
        let enums = |levels| encode::<MessagePack, _>(Nest::of(levels));
        assert_eq!(decode::<MessagePack, Nest>(&enums(128)), Ok(Nest::of(128)));
        assert!(decode_err::<MessagePack, Nest>(&enums(129)).ends_with(too_deep));
        assert!(
            decode_err::<MessagePack, Nest>(&b"\x81\xa2In".repeat(100_000)).ends_with(too_deep)
        );
        // An option of an option is not told apart from it, so this takes one byte.
        assert!(decode_err::<MessagePack, Chain>(b"\x01").ends_with(too_deep));
        assert!(decode_err::<MessagePack, Lists>(&b"\x91".repeat(100_000)).ends_with(too_deep));
        // Only the unknown field nests.
        let unknown = [
            b"\x83\xa4name\xa1a\xa4note\xa1b\xa1x".as_slice(),
            &b"\x91".repeat(100_000),
        ]
        .concat();
        assert!(decode_err::<MessagePack, Borrowing<'_>>(&unknown).ends_with(too_deep));
    }

    #[test]
    fn value_that_cannot_be_encoded_says_why() {
        assert_eq!(
            encode_err::<MessagePack, _>(Failing::NEW),
            "the value cannot be written as MessagePack: not\\ntoday"
        );
    }
}
