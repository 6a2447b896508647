//! JSON, by `serde_json`.

use serde::{Deserialize, Serialize};

use super::{
    Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer,
    guard::{Guard, MAX_DEPTH},
};
use crate::Response;

/// JSON, with the feature `json`: for people, and for any other language.
///
/// A message is one JSON value, without white space between its parts. Types with serde's
/// `Serialize` can be sent, and types with `Deserialize` can be received.
///
/// | type | as JSON |
/// |---|---|
/// | a struct, a map | an object; a key must be text, a number, a character or a `bool` |
/// | a tuple, a list | an array |
/// | an enum | `"Unit"`, `{"Newtype":1}`, `{"Tuple":[1,2]}`, `{"Struct":{"a":1}}` |
/// | `Option<T>` | the value, or `null` |
/// | `()` | `null` |
/// | a unit struct | `null` |
/// | `Result<T, E>` | `{"Ok":…}` or `{"Err":…}`: [a value on both ends](crate::format#results) |
/// | floats | as many digits as it takes to read them exactly; `null` if they are not finite |
/// | `&[u8]`, `Vec<u8>` | an array of numbers; only `Vec<u8>` is read from one |
/// | [`Response<T>`](crate::Response) | `T`, which is also what the caller reads |
///
/// `Some` of a value that is `null`, such as `Some(None)`, `Some(())` and `Some(f64::NAN)`, is
/// `null` too, and arrives as `None`. A `null` cannot be read as a float.
///
/// A message contains no newline, because JSON escapes those in text as `\n`. So you can combine JSON with
/// [`framing = Lines`](crate::framing::Lines), which makes *JSON lines*. That framing cannot send a rejection. With
/// `reject_with = in_json` and `fn in_json(rejection: &Rejection) -> Result<(), String> { Err(rejection.to_string())
/// }`, a peer whose request is not JSON receives the reason, and the connection stays open.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcs::{format::Json, server_protocol};
///
/// #[derive(Deserialize)]
/// struct Order<'a> {
///     item: &'a str, // borrowed from what arrived
///     count: u32,
/// }
///
/// #[derive(Serialize)]
/// struct Receipt<'a> {
///     item: &'a str,
///     cents: u64,
/// }
///
/// #[derive(Serialize)]
/// enum Rejected {
///     SoldOut,
/// }
///
/// #[server_protocol(format = Json)]
/// fn sell(order: Order<'_>) -> Result<Receipt<'_>, Rejected> {
///     match order.count {
///         0..100 => Ok(Receipt { item: order.item, cents: 250 * u64::from(order.count) }),
///         _ => Err(Rejected::SoldOut),
///     }
/// }
/// ```
///
/// # Floats
///
/// `serde_json` reads some floats with an error in the last bit. If that matters, enable its
/// feature `float_roundtrip` in your own `Cargo.toml`. The feature makes reading slower (by 6 % for a message without
/// any float). A number that is too large for an `f32` is an error, except in types with [some serde
/// attributes](crate::format#serde-attributes).
///
/// # Borrowing
///
/// `&str` is borrowed from the receive buffer. Text with an escape (`\"`, `\n`, `\u00e9`) is copied
/// without the escape, and borrowed from the copy. `Cow<str>` in a field is borrowed with
/// `#[serde(borrow)]`, and copied without it. If you call [`Decode::decode`] yourself, there is no
/// memory for copies, and a `&str` with an escape is an error.
///
/// # Errors
///
/// See [the errors of all formats](crate::format#errors) and the limits of
/// [some serde attributes](crate::format#serde-attributes). For JSON:
///
/// - A message may nest 127 levels of lists and objects, and 256 levels with options. Levels in
///   unknown fields are not counted.
/// - Unknown fields are skipped, unless the type has `#[serde(deny_unknown_fields)]`.
/// - The message of an error has no line and column if serde does not know them, as for a message that
///   no variant of an untagged enum matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
pub enum Json {}

impl<T: Serialize> Encode<Json> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        serde_json::to_writer(out, &self).map_err(|error| EncodeError::unsupported("JSON", error))
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, Json> for T {
    #[inline]
    fn decode(mut frame: Frame<'a>) -> Result<Self, DecodeError> {
        let bytes = frame.bytes();
        // `serde_json` itself limits lists and objects to 128 levels. Options, which take no bytes,
        // may be between them.
        let guard = Guard::new(bytes.len(), 2 * MAX_DEPTH).with_memory(frame.take_scratch());
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = guard.deserialize(&mut deserializer);
        value
            .and_then(|value| deserializer.end().map(|()| value))
            .map_err(|error| decode_error(error, &guard))
    }
}

impl<'a, T: ReplyValue<'a, Json>, U> ReplyValue<'a, Json> for Response<T, U> {
    type Value = T::Value;
}

// The error is passed by value: if `decode` had to drop it, a small request would cost 3 % more.
#[cold]
#[expect(clippy::needless_pass_by_value, reason = "see above")]
fn decode_error(error: serde_json::Error, guard: &Guard<'_>) -> DecodeError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let recorded = guard.context.take_reason();
    // `serde_json` takes " at line 1 column 2" at the end of a type's own text for the place of the error.
    let is_own = recorded.is_some_and(|recorded| recorded.raw() == text);
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(reason) if !is_own => {
            let place = format!(" at line {line}, column {column}");
            DecodeError::malformed("JSON", &place, reason)
        }
        // serde does not know the position of a type with `#[serde(untagged)]`.
        _ => DecodeError::malformed("JSON", "", &text),
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::BTreeMap};

    use proptest::prelude::*;
    use serde::{Deserialize, Deserializer, de::Error};

    use super::Json;
    use crate::format::{
        Decode, Encode, Frame, Writer, WriterState,
        test_support::{
            assert_borrowed, assert_consumes_all, decode, decode_err, encode, encode_err,
        },
        test_values::{Borrowing, Chain, Everything, Failing, Kept, Kind, Lists, Nest, everything},
    };

    proptest! {
        #[test]
        fn messages_come_back(value in everything()) {
            let bytes = encode::<Json, _>(&value);
            prop_assert!(!bytes.contains(&b'\n'));
            prop_assert_eq!(decode::<Json, Everything>(&bytes), Ok(value));
        }
    }

    /// Writes a text of JSON with an escape for each character.
    fn escaped(text: &str) -> String {
        let units = text
            .encode_utf16()
            .flat_map(|unit| format!("\\u{unit:04x}").into_bytes());
        format!(
            "\"{}\"",
            String::from_utf8(units.collect()).expect("it is ASCII")
        )
    }

    proptest! {
        #[test]
        fn texts_with_escapes_come_back(texts in proptest::collection::vec(any::<String>(), 0..9)) {
            let list: Vec<_> = texts.iter().map(|text| escaped(text)).collect();
            let bytes = format!("[{}]", list.join(",")).into_bytes();
            let mut scratch = Vec::new();
            let read: Vec<&str> = read_with(&bytes, &mut scratch);
            prop_assert_eq!(read, texts);
        }
    }

    #[test]
    fn messages_are_json_without_white_space() {
        let kinds = [
            Kind::Unit,
            Kind::One(1),
            Kind::Two(2, "a\nb".to_owned()),
            Kind::Named { a: 3, b: None },
        ];
        assert_eq!(
            encode::<Json, _>(kinds),
            br#"["Unit",{"One":1},{"Two":[2,"a\nb"]},{"Named":{"a":3,"b":null}}]"#
        );
        let results = [Ok(1), Err("no")];
        assert_eq!(encode::<Json, _>(results), br#"[{"Ok":1},{"Err":"no"}]"#);
        assert_eq!(encode::<Json, _>((f64::NAN, ())), b"[null,null]");
        assert_eq!(encode::<Json, _>(b"ab".as_slice()), b"[97,98]");
        assert_eq!(decode::<Json, Vec<u8>>(b"[97,98]"), Ok(b"ab".to_vec()));
        let keys = (BTreeMap::from([(1, 2)]), BTreeMap::from([(true, 'x')]));
        assert_eq!(encode::<Json, _>(keys), br#"[{"1":2},{"true":"x"}]"#);
    }

    #[test]
    fn message_beyond_the_limit_is_counted_whole() {
        let value = (vec![u64::MAX; 30], "a\"b".repeat(200));
        let expected = serde_json::to_vec(&value).expect("encodes");
        assert_eq!(encode::<Json, _>(&value), expected);
        for (limit, outcome) in [
            (expected.len(), WriterState::Message),
            (expected.len() - 1, WriterState::TooLarge(expected.len())),
        ] {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, limit);
            Encode::<Json>::encode(&value, &mut writer).expect("encodes");
            assert_eq!(writer.into_state(), outcome);
            assert!(buffer.len() <= limit);
        }
    }

    #[test]
    fn text_is_borrowed_unless_it_is_escaped() {
        let bytes = br#"{"name":"Ann","note":"plain"}"#;
        let value = decode::<Json, Borrowing<'_>>(bytes).expect("decodes");
        assert_borrowed(value.name, bytes);
        assert!(matches!(value.note, Cow::Borrowed("plain")));
        let bytes = br#"{"name":"Ann","note":"\u00e9"}"#;
        let value = decode::<Json, Borrowing<'_>>(bytes).expect("decodes");
        assert!(matches!(value.note, Cow::Owned(note) if note == "é"));
        assert_eq!(
            decode_err::<Json, Borrowing<'_>>(br#"{"name":"A\n","note":""}"#),
            "invalid JSON at line 1, column 13: invalid type: string \"A\\n\", expected a borrowed string"
        );
    }

    fn read_with<'a, T: Decode<'a, Json>>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> T {
        T::decode(Frame::new(bytes).with_scratch(scratch)).expect("decodes")
    }

    #[test]
    fn text_with_escapes_is_borrowed_from_the_scratch_buffer() {
        let mut scratch = vec![b'x'; 9];
        let bytes = br#"[["\u00e9","A\n","plain","\\\"",""],"a\tb"]"#;
        let (texts, raw) = read_with::<(Vec<&str>, &[u8])>(bytes, &mut scratch);
        assert_eq!(texts, ["é", "A\n", "plain", "\\\"", ""]);
        assert_eq!(raw, b"a\tb");
        assert_borrowed(texts[2], bytes);
        assert_eq!(scratch.capacity(), bytes.len());

        let bytes = br#"{"name":"\u00e9","note":"\u00e8"}"#;
        let value = read_with::<Borrowing<'_>>(bytes, &mut scratch);
        assert_eq!(value.name, "é");
        assert!(matches!(value.note, Cow::Borrowed("è")));
        assert_eq!(read_with::<String>(br#""\u00e9""#, &mut scratch), "é");

        let mut unused = Vec::new();
        read_with::<Borrowing<'_>>(br#"{"name":"A","note":""}"#, &mut unused);
        assert_eq!(unused.capacity(), 0);
    }

    #[test]
    fn messages_are_read_whole() {
        assert_consumes_all::<Json, (u32, String)>(br#"[1,"Ann"]"#, b'1');
        assert_eq!(decode::<Json, u8>(b" 1\r\n"), Ok(1));
    }

    #[test]
    fn decode_error_says_where_and_why() {
        for (rejection, expected) in [
            (
                decode_err::<Json, u8>(b""),
                "1, column 0: EOF while parsing a value",
            ),
            (
                decode_err::<Json, u8>(b"\n 1 2"),
                "2, column 4: trailing characters",
            ),
            (
                decode_err::<Json, u8>(b"300"),
                "1, column 3: invalid value: integer `300`, expected u8",
            ),
            (
                decode_err::<Json, Kind>(b"\"a\\u001b[2J\""),
                "1, column 12: unknown variant `a\\u{1b}[2J`, expected one of `Unit`, `One`, `Two`, `Named`",
            ),
            (
                decode_err::<Json, String>(b"\"a\xff\""),
                "1, column 3: invalid unicode code point",
            ),
        ] {
            assert_eq!(rejection, format!("invalid JSON at line {expected}"));
        }
        assert_eq!(
            decode_err::<Json, Kept>(b"\n-1.5"),
            "invalid JSON: data did not match any variant of untagged enum Kept"
        );
        let long = format!("\"{}\"", "x".repeat(100_000));
        let rejection = decode_err::<Json, Kind>(long.as_bytes());
        assert!(
            rejection.starts_with("invalid JSON at line 1, column 100002: unknown variant `xxx")
        );
        assert!(
            rejection.ends_with("xxx…") && rejection.len() < 350,
            "{rejection}"
        );
    }

    /// Reads a text, and returns it as an error.
    #[derive(Debug)]
    struct Complaint;

    impl<'a> Deserialize<'a> for Complaint {
        fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            Err(D::Error::custom(String::deserialize(deserializer)?))
        }
    }

    #[test]
    fn place_that_a_type_names_is_not_that_of_the_error() {
        for (text, place) in [
            ("no", " at line 2, column 6"),
            ("no at line 7", " at line 2, column 16"),
            ("no at line 7 column 9", ""),
            ("no at line 7 column 9 at line 7 column 9", ""),
        ] {
            assert_eq!(
                decode_err::<Json, [Complaint; 1]>(format!("\n[\"{text}\"]").as_bytes()),
                format!("invalid JSON{place}: {text}")
            );
        }
    }

    #[test]
    fn endless_nesting_is_rejected() {
        let enums = |levels| r#"{"In":"#.repeat(levels) + "\"End\"" + &"}".repeat(levels);
        assert!(decode::<Json, Nest>(enums(100).as_bytes()).is_ok());
        assert!(
            decode_err::<Json, Nest>(enums(100_000).as_bytes())
                .ends_with("recursion limit exceeded")
        );
        let lists = "[".repeat(1_000_000);
        assert!(decode_err::<Json, Lists>(lists.as_bytes()).ends_with("recursion limit exceeded"));
        assert!(decode::<Json, Chain>(b"null").is_ok());
        let too_deep = "it nests deeper than 256 levels";
        assert!(decode_err::<Json, Chain>(b"1").ends_with(too_deep));
        assert!(decode_err::<Json, (u8, Option<Chain>)>(b"[1,true]").ends_with(too_deep));
    }

    #[test]
    fn value_that_cannot_be_encoded_says_why() {
        assert_eq!(
            encode_err::<Json, _>(BTreeMap::from([((1, 2), 3)])),
            "the value cannot be written as JSON: key must be a string"
        );
        assert_eq!(
            encode_err::<Json, _>(Failing::NEW),
            "the value cannot be written as JSON: not\\ntoday"
        );
    }
}
