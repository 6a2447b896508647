//! Postcard, by the crate of that name.
//!
//! The crate drops the texts of errors and writes a value whose fields are partly left out, so
//! [`Output`] stands before its serializer. The guard stands before its deserializer.

use std::fmt;

use postcard::{Deserializer, Error, Serializer, de_flavors, ser_flavors};
use serde::{
    Deserialize, Serialize,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{
    Decode, DecodeError, Encode, EncodeError, Frame, Writer,
    guard::{DEPTH, Guard},
    shortened,
};

/// Postcard, with the feature `postcard`: the leanest format, between programs in Rust.
///
/// It writes values one after the other, without names or types: both ends must have the same
/// ones, so that a field can be added only together with a new message. The format is specified at
/// <https://postcard.jamesmunns.com/wire-format>. Every type with serde's `Serialize` can be sent, and
/// every one with `Deserialize` be read, as long as the message need not say what it is: neither
/// `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` nor `serde_json::Value` can be read.
/// Nor can what is left out be told from what follows, see [below](#fields-that-are-left-out).
///
/// | type | in bytes |
/// |---|---|
/// | integers of 16 bits and more | 7 bits in a byte, the lowest first; signed ones in zigzag |
/// | `u8`, `i8`, `bool`, floats | as they are, little-endian |
/// | text, `&[u8]`, lists, maps | the count, then the elements |
/// | structs, tuples | the fields |
/// | an enum | the number of the variant, then its fields |
/// | `Option<T>` | 0, or 1 and the value |
/// | `Result<T, E>` | 0 and the value, or 1 and the error: a value on both ends |
/// | `()` | nothing |
/// | [`Response<T>`](crate::Response) | `T`, which is also what the caller reads |
///
/// Its messages are bytes of all values, so they need a framing that says how many follow, such as the
/// default, [`Prefixed`](crate::Prefixed) or [`Netstrings`](crate::Netstrings): with lines and delimiters,
/// some messages cannot be sent.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tcs::{Postcard, server_protocol};
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
/// # Results
///
/// A `Result` is a value like any other: the client gets it as the reply, so a call returns
/// `Result<Result<T, E>, tcs::Error>`. The last reply of a connection is a `Response<Result<T, E>>`.
///
/// # What is borrowed
///
/// `&str` and `&[u8]` are borrowed from the receive buffer. In a field, `Cow<str>` is so with
/// `#[serde(borrow)]`, and copied without it.
///
/// # Fields that are left out
///
/// A value with a field that `#[serde(skip_serializing_if = …)]` leaves out has no form: the reader would
/// take what follows for that field. These are left out without a sign, so do not use them:
///
/// - `#[serde(skip_serializing)]` or `#[serde(skip_deserializing)]` on a field; `#[serde(skip)]`, which is
///   both, is all right
/// - `#[serde(skip_serializing_if = …)]` on a field without a name
/// - `#[serde(skip)]` or `#[serde(skip_deserializing)]` on a variant that is not the last: the writer counts
///   it, and the reader does not
///
/// # Errors
///
/// What cannot be read is refused as a *bad request* that names the byte, as is anything behind the
/// value, and what nests deeper than 128 levels (of lists, structs, enums, options, …). So are lists that
/// claim more elements than the message has bytes: honest ones of values that take no bytes,
/// as `Vec<()>`, can do so as well. A list or map that does not know its length before it is
/// written has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a marker has no variants")]
pub enum Postcard {}

impl<T: Serialize> Encode<Postcard> for T {
    #[inline]
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut output = Output(Serializer {
            output: Appended(out),
        });
        self.serialize(&mut output).map_err(no_form)
    }
}

impl<'a, T: Deserialize<'a>> Decode<'a, Postcard> for T {
    #[inline]
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let bytes = frame.bytes();
        let guard = Guard::new(bytes.len(), DEPTH);
        let mut deserializer = Deserializer::from_flavor(Unread(bytes));
        let read = guard.read(&mut deserializer);
        let left = deserializer.finalize().unwrap_or_default();
        match read {
            Ok(value) if left.is_empty() => Ok(value),
            read => Err(wrong(read.err().as_ref(), &guard, bytes.len() - left.len())),
        }
    }
}

#[cold]
#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn no_form(failure: Failure) -> EncodeError {
    EncodeError::new(format_args!("it has no form in Postcard: {failure}"))
}

#[cold]
fn wrong(error: Option<&Error>, guard: &Guard<'_>, place: usize) -> DecodeError {
    let said = guard.reason();
    let reason = match error {
        None => "the value ends here, and more follows",
        Some(Error::DeserializeUnexpectedEnd) => "it ends too early",
        Some(Error::DeserializeBadVarint) => "an integer is too large for its type",
        Some(Error::DeserializeBadBool) => "a `bool` is neither 0 nor 1",
        Some(Error::DeserializeBadChar) => "a `char` is not one character",
        Some(Error::DeserializeBadUtf8) => "a text is not UTF-8",
        Some(Error::DeserializeBadOption) => "an option is neither 0 nor 1",
        Some(Error::WontImplement) => "the type asks what comes, which Postcard does not say",
        Some(_) => said.as_deref().unwrap_or("it is not what is expected"),
    };
    DecodeError::new(format_args!(
        "the Postcard is wrong at byte {place}: {}",
        shortened(reason)
    ))
}

/// The bytes of a message that are not read yet. Unlike those of the crate, they leave it to the
/// guard to judge how many elements a list claims.
struct Unread<'a>(&'a [u8]);

impl<'a> de_flavors::Flavor<'a> for Unread<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let (first, rest) = self
            .0
            .split_first()
            .ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let taken = self.0.split_at_checked(count);
        let (taken, rest) = taken.ok_or(Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.0)
    }
}

/// Appends to a message.
struct Appended<'w, 'a>(&'w mut Writer<'a>);

impl ser_flavors::Flavor for Appended<'_, '_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put(&[byte]);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Why a value cannot be written.
#[derive(Debug)]
struct Failure(Box<str>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shortened(&self.0).fmt(f)
    }
}

impl std::error::Error for Failure {}

impl ser::Error for Failure {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self(reason.to_string().into())
    }
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Self {
        match error {
            Error::SerializeSeqLengthUnknown => {
                Self("a list or map does not know its length".into())
            }
            Error::CollectStrError => Self("a value cannot be shown as text".into()),
            error => Self(error.to_string().into()),
        }
    }
}

/// The serializer of the crate, which gets single values and the beginnings of others. Their parts
/// come back to this one.
struct Output<F: ser_flavors::Flavor>(Serializer<F>);

macro_rules! serialize {
    ($($method:ident($($name:ident: $type:ty),*);)+) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<(), Failure> {
            Ok(self.0.$method($($name),*)?)
        }
    )+};
}

impl<F: ser_flavors::Flavor> ser::Serializer for &mut Output<F> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    serialize! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Failure> {
        Ok(self.0.collect_str(value)?)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        self.0.serialize_u8(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.0.serialize_unit_variant(name, index, variant)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Failure> {
        self.0.serialize_seq(length)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _length: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self, Failure> {
        self.0.serialize_unit_variant(name, index, variant)?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Failure> {
        self.0.serialize_map(length)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self, Failure> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self, Failure> {
        self.serialize_tuple_variant(name, index, variant, length)
    }
}

macro_rules! parts {
    ($($trait:ident { $($method:ident($($name:ident)?)),+ }$(, $skip_field:ident)?;)+) => {$(
        impl<F: ser_flavors::Flavor> $trait for &mut Output<F> {
            type Ok = ();
            type Error = Failure;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), Failure> {
                $(let _ = $name;)?
                value.serialize(&mut **self)
            })+

            $(fn $skip_field(&mut self, name: &'static str) -> Result<(), Failure> {
                Err(ser::Error::custom(format_args!("it leaves out the field `{name}`")))
            })?

            #[inline]
            fn end(self) -> Result<(), Failure> {
                Ok(())
            }
        }
    )+};
}

parts! {
    SerializeSeq { serialize_element() };
    SerializeTuple { serialize_element() };
    SerializeTupleStruct { serialize_field() };
    SerializeTupleVariant { serialize_field() };
    SerializeMap { serialize_key(), serialize_value() };
    SerializeStruct { serialize_field(_name) }, skip_field;
    SerializeStructVariant { serialize_field(_name) }, skip_field;
}

#[cfg(test)]
#[cfg(all(feature = "json", feature = "messagepack"))]
mod tests {
    use std::{borrow::Cow, fmt::Debug};

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::Postcard;
    use crate::{
        Encode, Writer,
        format::{
            Outcome,
            samples::{
                Borrowing, Chain, Everything, Failing, Kind, Lists, Nest, everything,
                is_read_whole, lies_in, read, refused, sent, unsent,
            },
        },
    };

    /// Fails unless the crate reads the same value of `T`, or none.
    fn agree<'a, T>(bytes: &'a [u8]) -> Result<(), TestCaseError>
    where
        T: Deserialize<'a> + Debug + PartialEq,
    {
        let theirs = postcard::take_from_bytes::<T>(bytes).ok();
        let theirs = theirs.and_then(|(value, rest)| rest.is_empty().then_some(value));
        prop_assert_eq!(read::<Postcard, T>(bytes).ok(), theirs);
        Ok(())
    }

    proptest! {
        #[test]
        fn messages_are_those_of_the_crate_and_come_back(value in everything()) {
            let bytes = sent::<Postcard, _>(&value);
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&value).expect("it has a form"));
            prop_assert_eq!(read::<Postcard, Everything>(&bytes), Ok(value));
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
        let expected = postcard::to_allocvec(&value).expect("a form");
        for (limit, outcome) in [
            (expected.len(), Outcome::Message),
            (expected.len() - 1, Outcome::TooLarge(expected.len())),
        ] {
            let mut buffer = Vec::new();
            let mut writer = Writer::new(&mut buffer, limit);
            Encode::<Postcard>::encode(&value, &mut writer).expect("a form");
            assert_eq!(writer.into_outcome(), outcome);
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
        assert_eq!(sent::<Postcard, _>(Shown("añb")), b"\x06a\xc3\xb1b-1");
    }

    #[test]
    fn text_is_borrowed() {
        let bytes = sent::<Postcard, _>(("Ann", Cow::Borrowed("a\nb"), b"xyz".as_slice()));
        let (value, raw) = read::<Postcard, (Borrowing<'_>, &[u8])>(&bytes).expect("it is right");
        lies_in(value.name, &bytes);
        assert!(matches!(value.note, Cow::Borrowed("a\nb")));
        assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
    }

    #[test]
    fn messages_are_read_whole() {
        is_read_whole::<Postcard, (u32, String)>(&sent::<Postcard, _>((1 << 30, "Ann")), 0);
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
    fn what_does_not_decode_says_where_and_why() {
        for (refusal, expected) in [
            (
                refused::<Postcard, (u8, u16)>(b"\x01"),
                "byte 1: it ends too early",
            ),
            (
                refused::<Postcard, u8>(b"\x01\x02"),
                "byte 1: the value ends here, and more follows",
            ),
            (
                refused::<Postcard, (u8, bool)>(b"\x01\x02"),
                "byte 2: a `bool` is neither 0 nor 1",
            ),
            (
                refused::<Postcard, Option<u8>>(b"\x02"),
                "byte 1: an option is neither 0 nor 1",
            ),
            (
                refused::<Postcard, &str>(b"\x01\xff"),
                "byte 2: a text is not UTF-8",
            ),
            (
                refused::<Postcard, String>(b"\x01\xff"),
                "byte 2: a text is not UTF-8",
            ),
            (
                refused::<Postcard, char>(b"\x02ab"),
                "byte 3: a `char` is not one character",
            ),
            (
                refused::<Postcard, u16>(b"\xff\xff\x04"),
                "byte 3: an integer is too large for its type",
            ),
            (
                refused::<Postcard, u32>(b"\xff\xff\xff\xff\x10\0\0"),
                "byte 5: an integer is too large for its type",
            ),
            (
                refused::<Postcard, (u8, u64)>(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0"),
                "byte 11: an integer is too large for its type",
            ),
            (
                refused::<Postcard, (u8, u64)>(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff"),
                "byte 9: it ends too early",
            ),
            (
                refused::<Postcard, Vec<u8>>(b"\xff\xff\xff\xff\x0f"),
                "byte 5: it claims 4294967295 elements, which is more than its bytes",
            ),
            (
                refused::<Postcard, Kind>(b"\x04"),
                "byte 1: invalid value: integer `4`, expected variant index 0 <= i < 4",
            ),
            (
                refused::<Postcard, Vec<(u8, Even)>>(b"\x01\x09\x03"),
                "byte 3: 3 is odd\\n",
            ),
            (
                refused::<Postcard, std::net::IpAddr>(b"\x02"),
                "byte 1: invalid value: integer `2`, expected `V4` or `V6`",
            ),
        ] {
            assert_eq!(refusal, format!("the Postcard is wrong at {expected}"));
        }
        assert!(
            refused::<Postcard, serde_json::Value>(b"\x01").contains("which Postcard does not say")
        );
    }

    #[test]
    fn what_nests_without_end_is_refused() {
        assert_eq!(
            read::<Postcard, Nest>(&sent::<Postcard, _>(Nest::of(128))),
            Ok(Nest::of(128))
        );
        let too_deep = "it nests deeper than 128 levels";
        assert!(refused::<Postcard, Nest>(&sent::<Postcard, _>(Nest::of(129))).ends_with(too_deep));
        let deep = b"\x01".repeat(1 << 20);
        assert!(refused::<Postcard, Nest>(&deep).ends_with(too_deep));
        assert!(refused::<Postcard, Chain>(&deep).ends_with(too_deep));
        assert!(refused::<Postcard, Lists>(&deep).ends_with(too_deep));
    }

    #[test]
    fn what_has_no_form_says_why() {
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq((0..3).filter(|number| *number > 0))
            }
        }
        assert_eq!(
            unsent::<Postcard, _>(Endless),
            "it has no form in Postcard: a list or map does not know its length"
        );
        assert_eq!(
            unsent::<Postcard, _>(Failing::NEW),
            "it has no form in Postcard: not\\ntoday"
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
    fn field_that_is_left_out_for_its_value_has_no_form() {
        let gaps = |second| Gaps {
            first: 1,
            second,
            never: 0,
            third: 3,
        };
        let bytes = sent::<Postcard, _>(gaps(Some(2)));
        assert_eq!(bytes, b"\x01\x01\x02\x03");
        assert_eq!(read::<Postcard, Gaps>(&bytes), Ok(gaps(Some(2))));
        let reason = "it has no form in Postcard: it leaves out the field `second`";
        assert_eq!(unsent::<Postcard, _>(gaps(None)), reason);
        assert_eq!(unsent::<Postcard, _>((1, [Some(gaps(None))])), reason);
        let choice = |text: &str| Choice::Gaps { text: text.into() };
        assert_eq!(sent::<Postcard, _>(choice("a")), b"\x00\x01a");
        assert_eq!(
            unsent::<Postcard, _>([(1, choice(""))]),
            "it has no form in Postcard: it leaves out the field `text`"
        );
    }
}
