//! The serde formats compared.
#![cfg(all(feature = "json", feature = "messagepack", feature = "postcard"))]

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr};

use proptest::{collection::vec, prelude::*};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, SeqAccess, Visitor},
};

use super::{
    Decode, Encode, Frame, Json, MessagePack, Postcard,
    test_support::{decode, decode_err, encode, encode_err},
    test_values::{Borrowing, Everything, Kept, Marker, More, Tagged},
};

/// A type with many serde attributes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Attributed<'a> {
    #[serde(borrow)]
    untagged: Vec<Untagged<'a>>,
    internal: Internal,
    adjacent: Adjacent,
    #[serde(with = "as_text")]
    with: u32,
    keys: BTreeMap<i32, bool>,
    names: BTreeMap<&'a str, u8>,
    #[serde(flatten)]
    rest: BTreeMap<String, u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<'a> {
    Number(u64),
    Text(&'a str),
    List(Vec<Self>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Point { x: i64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "is")]
enum Adjacent {
    Pair(u8, f64),
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the shape that serde calls"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

fn attributed() -> Attributed<'static> {
    use Untagged::{List, Number, Text};
    Attributed {
        untagged: vec![Text("\u{e9}\n"), List(vec![Number(u64::MAX), Text("")])],
        internal: Internal::Point { x: i64::MIN },
        adjacent: Adjacent::Pair(7, -0.0),
        with: 90_000,
        keys: BTreeMap::from([(-1, true), (i32::MAX, false)]),
        names: BTreeMap::from([("a\"b", 1)]),
        rest: BTreeMap::from([("other".to_owned(), 5)]),
    }
}

#[test]
fn types_with_serde_attributes_come_back() {
    let bytes = encode::<MessagePack, _>(attributed());
    assert_eq!(decode::<MessagePack, _>(&bytes), Ok(attributed()));
    let (bytes, mut scratch) = (encode::<Json, _>(attributed()), Vec::new());
    let frame = Frame::new(&bytes).with_scratch(&mut scratch);
    assert_eq!(Decode::<Json>::decode(frame), Ok(attributed()));
    assert_eq!(
        encode_err::<Postcard, _>(attributed()),
        "the value cannot be written as Postcard: a list or map does not know its length"
    );
    assert_eq!(
        decode::<Postcard, _>(&encode::<Postcard, _>(attributed().keys)),
        Ok(attributed().keys)
    );
}

fn kept() -> impl Strategy<Value = Kept> {
    let leaf = prop_oneof![
        Just(Kept::Nothing),
        any::<u8>().prop_map(Kept::Byte),
        any::<String>().prop_map(|text| Kept::Text(text.into())),
        vec(any::<u8>(), 1..9).prop_map(Kept::Raw),
        "[a-z]{1,9}".prop_map(|text| Kept::Raw(text.into())),
        any::<(Vec<u8>, Vec<u8>)>().prop_map(|(raw, rest)| {
            let more = More { rest };
            Kept::Tagged(Tagged::File { raw, more })
        }),
    ];
    // The list begins with a value that is not a byte, because a list of only bytes is read as `Raw`.
    leaf.prop_recursive(3, 20, 5, |inner| {
        vec(inner, 0..5).prop_map(|mut list| {
            list.insert(0, Kept::Nothing);
            Kept::List(list)
        })
    })
}

proptest! {
    #[test]
    fn untagged_values_come_back(list in vec(kept(), 0..6)) {
        prop_assert_eq!(decode::<Json, _>(&encode::<Json, _>(&list)), Ok(list.clone()));
        prop_assert_eq!(decode::<MessagePack, _>(&encode::<MessagePack, _>(&list)), Ok(list));
    }
}

#[test]
fn bytes_are_not_taken_for_text() {
    let raw = Kept::Raw(b"hi".to_vec());
    assert_eq!(decode::<Json, _>(&encode::<Json, _>(&raw)), Ok(raw.clone()));
    let bytes = encode::<MessagePack, _>(&raw);
    assert_eq!(bytes, b"\xc4\x02hi");
    assert_eq!(decode::<MessagePack, _>(&bytes), Ok(raw));
    assert_eq!(
        decode::<MessagePack, _>(&bytes),
        Ok(serde_json::json!([104, 105]))
    );
}

#[test]
fn some_of_nothing_is_nothing() {
    fn read_back<F, T: Encode<F> + for<'a> Decode<'a, F>>(value: T) -> Result<T, String> {
        decode::<F, T>(&encode::<F, T>(value))
    }
    assert_eq!(read_back::<Json, _>(Some(())), Ok(None));
    assert_eq!(read_back::<Json, _>(Some(None::<u8>)), Ok(None));
    assert_eq!(read_back::<Json, _>(Some(Marker)), Ok(None));
    assert_eq!(read_back::<Json, _>(Some(f64::NAN)), Ok(None));
    assert_eq!(read_back::<MessagePack, _>(Some(())), Ok(None));
    assert_eq!(read_back::<MessagePack, _>(Some(None::<u8>)), Ok(None));
    assert_eq!(read_back::<MessagePack, _>(Some(Marker)), Ok(Some(Marker)));
}

#[test]
fn address_is_text_in_json_only() {
    let address = IpAddr::from([1, 2, 3, 4]);
    assert_eq!(encode::<Json, _>(address), b"\"1.2.3.4\"");
    assert_eq!(encode::<Postcard, _>(address), [0, 1, 2, 3, 4]);
    assert_eq!(
        encode::<MessagePack, _>(address),
        b"\x81\xa2V4\x94\x01\x02\x03\x04"
    );
    for read in [
        decode::<Json, _>(&encode::<Json, _>(address)),
        decode::<Postcard, _>(&encode::<Postcard, _>(address)),
        decode::<MessagePack, _>(&encode::<MessagePack, _>(address)),
    ] {
        assert_eq!(read, Ok(address));
    }
}

/// Says for how many elements of a tuple it would allocate memory.
#[derive(Debug)]
struct Allocating;

impl<'a> Deserialize<'a> for Allocating {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, Self)
    }
}

impl<'a> Visitor<'a> for Allocating {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tuple")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, tuple: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format_args!(
            "memory for {:?}",
            tuple.size_hint()
        )))
    }
}

#[test]
fn tuple_allocates_for_as_many_elements_as_the_message_has_bytes() {
    let hint = decode_err::<MessagePack, Allocating>(b"\xdd\xff\xff\xff\xff");
    assert_eq!(hint, "invalid MessagePack at /: memory for Some(5)");
}

#[test]
fn numbers_that_do_not_fit_are_rejected() {
    for number in ["1e400", "-1", "0.5", "256", "1e2", "\"1\"", "01", "NaN"] {
        decode_err::<Json, u8>(number.as_bytes());
    }
    decode_err::<Json, f64>(b"1e400");
    decode_err::<Json, u128>(b"340282366920938463463374607431768211456");
    decode_err::<Json, i64>(b"9223372036854775808");
    decode_err::<MessagePack, u8>(b"\xcd\x01\x00");
    decode_err::<MessagePack, u64>(b"\xff");
    decode_err::<MessagePack, i64>(b"\xcf\x80\0\0\0\0\0\0\0");
}

#[test]
fn floats_that_are_not_finite_come_back_in_binary() {
    for float in [f64::NAN, -f64::NAN, f64::INFINITY] {
        let bits = |read: Result<f64, String>| read.expect("a float").to_bits();
        let bytes = encode::<Postcard, _>(float);
        assert_eq!(bits(decode::<Postcard, _>(&bytes)), float.to_bits());
        let bytes = encode::<MessagePack, _>(float);
        assert_eq!(bits(decode::<MessagePack, _>(&bytes)), float.to_bits());
    }
    decode_err::<Json, f64>(&encode::<Json, _>(f64::NAN));
}

#[test]
fn field_that_comes_twice_is_rejected() {
    let twice = decode_err::<Json, Borrowing<'_>>(br#"{"name":"a","note":"b","name":"c"}"#);
    assert!(twice.ends_with("duplicate field `name`"), "{twice}");
    let twice = decode_err::<MessagePack, Borrowing<'_>>(b"\x82\xa4name\xa1a\xa4name\xa1b");
    assert!(twice.ends_with("duplicate field `name`"), "{twice}");
}

#[test]
fn bytes_are_borrowed_only_from_bytes() {
    decode_err::<Json, &[u8]>(b"[97]");
    decode_err::<MessagePack, &[u8]>(b"\x91\x61");
    assert_eq!(decode::<Json, &[u8]>(b"\"ab\""), Ok(b"ab".as_slice()));
    assert_eq!(
        decode::<MessagePack, &[u8]>(b"\xa2ab"),
        Ok(b"ab".as_slice())
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Raw<'a> {
    bytes: &'a [u8],
    #[serde(borrow)]
    cow: Cow<'a, [u8]>,
    array: [u8; 0],
}

fn borrowed<'a, F>(bytes: &'a [u8], raw: &[u8]) -> Result<(), TestCaseError>
where
    Raw<'a>: Decode<'a, F>,
{
    let value = decode::<F, Raw<'_>>(bytes).expect("decodes");
    prop_assert_eq!(value.bytes, raw);
    prop_assert!(matches!(value.cow, Cow::Borrowed(cow) if cow == raw));
    Ok(())
}

proptest! {
    #[test]
    fn borrowed_bytes_come_back(raw in vec(any::<u8>(), 0..4)) {
        let value = Raw { bytes: &raw, cow: Cow::Borrowed(&raw), array: [] };
        borrowed::<MessagePack>(&encode::<MessagePack, _>(&value), &raw)?;
        borrowed::<Postcard>(&encode::<Postcard, _>(&value), &raw)?;
    }
}

#[test]
fn empty_bytes_are_an_empty_array_in_messagepack() {
    let nothing = b"".as_slice();
    assert_eq!(encode::<MessagePack, _>(nothing), b"\x90");
    for bytes in [b"\x90".as_slice(), b"\xc4\0", b"\xdc\0\0", b"\xa0"] {
        assert_eq!(decode::<MessagePack, &[u8]>(bytes), Ok(nothing));
    }
    for bytes in [b"\x90".as_slice(), b"\xc4\0", b"\xdc\0\0"] {
        assert_eq!(decode::<MessagePack, Vec<u8>>(bytes), Ok(Vec::new()));
    }
    assert_eq!(
        decode::<Postcard, &[u8]>(&encode::<Postcard, _>(nothing)),
        Ok(nothing)
    );
    assert_eq!(decode::<Json, &[u8]>(b"\"\""), Ok(nothing));
    // A list that is not empty is not bytes, and text is not an empty list.
    decode_err::<MessagePack, &[u8]>(b"\x91\x61");
    decode_err::<MessagePack, &str>(b"\x90");
    decode_err::<Json, &[u8]>(b"[]");
}

proptest! {
    #[test]
    fn any_text_is_no_panic(text in "([\\[\\]{}\",:0-9eE.+ -]|[a-z]|\\\\u[0-9a-f]{0,4}|true|null){0,40}") {
        let mut scratch = Vec::new();
        let frame = Frame::new(text.as_bytes()).with_scratch(&mut scratch);
        drop(<Vec<Untagged<'_>> as Decode<'_, Json>>::decode(frame));
        drop(decode::<Json, Everything>(text.as_bytes()));
        drop(decode::<Json, serde_json::Value>(text.as_bytes()));
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Half {
    Is(f32),
}

/// Checks that a number that is too large for an `f32` is an error, and infinity is not.
#[test]
fn float_that_is_too_large_is_no_infinity() {
    let too_large = "a number is too large for an `f32`";
    // With its feature `float_roundtrip`, `serde_json` rejects it in words of its own.
    assert!(decode::<Json, f32>(b"1e39").is_err());
    assert!(decode::<Json, (u8, Option<f32>)>(b"[1,-1e39]").is_err());
    assert_eq!(decode::<Json, f32>(b"3.4028235e38"), Ok(f32::MAX));
    assert_eq!(decode::<Json, f64>(b"1e39"), Ok(1e39));

    let float = |value: f64| encode::<MessagePack, _>(value);
    assert!(decode_err::<MessagePack, f32>(&float(1e39)).ends_with(too_large));
    assert!(
        decode_err::<MessagePack, Vec<f32>>(&encode::<MessagePack, _>([1.0, -1e39]))
            .ends_with(too_large)
    );
    assert_eq!(
        decode::<MessagePack, f32>(&float(f32::MAX.into())),
        Ok(f32::MAX)
    );
    assert_eq!(
        decode::<MessagePack, f32>(&float(f64::INFINITY)),
        Ok(f32::INFINITY)
    );
    assert!(decode::<MessagePack, f32>(&float(f64::NAN)).is_ok_and(f32::is_nan));
    assert_eq!(decode::<MessagePack, f64>(&float(1e39)), Ok(1e39));

    // serde reads this one, as the docs of the module say.
    let Half::Is(float) = decode::<Json, _>(b"1e39").expect("a number");
    assert!(float.is_infinite());

    // Postcard has the width of the type.
    let infinite = encode::<Postcard, _>(f32::INFINITY);
    assert_eq!(decode::<Postcard, f32>(&infinite), Ok(f32::INFINITY));
}
