use std::{borrow::Cow, fmt::Debug};

use proptest::prelude::*;
use serde::Serialize;

use super::Postcard;
use crate::{
    Encode, Writer,
    format::{
        Outcome,
        samples::{
            Borrowing, Chain, Everything, Failing, Kind, Lists, Nest, everything, is_read_whole,
            lies_in, read, refused, sent, unsent,
        },
    },
};

/// Fails unless the crate reads the same value of `T`, or none.
fn agree<'a, T>(bytes: &'a [u8]) -> Result<(), TestCaseError>
where
    T: serde::Deserialize<'a> + Debug + PartialEq,
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

    #[test]
    fn integers_are_read_as_the_crate_reads_them(
        first in proptest::collection::vec(prop::sample::select(vec![0x80, 0x81, 0xff_u8]), 0..20),
        last in prop::sample::select(vec![0, 1, 2, 3, 4, 15, 16, 0x7f, 0xff_u8]),
    ) {
        let alone = [first, vec![last]].concat();
        // Several bytes are looked at together, if there are so many.
        let before_others = [alone.as_slice(), &[0xff; 10]].concat();
        agree_on::<u16>(&alone, &before_others)?;
        agree_on::<i16>(&alone, &before_others)?;
        agree_on::<u32>(&alone, &before_others)?;
        agree_on::<i32>(&alone, &before_others)?;
        agree_on::<u64>(&alone, &before_others)?;
        agree_on::<i64>(&alone, &before_others)?;
        agree_on::<u128>(&alone, &before_others)?;
        agree_on::<i128>(&alone, &before_others)?;
    }
}

fn agree_on<T>(alone: &[u8], before_others: &[u8]) -> Result<(), TestCaseError>
where
    T: for<'a> serde::Deserialize<'a> + Debug + PartialEq,
{
    agree::<T>(alone)?;
    agree::<(T, [u8; 10])>(before_others)
}

#[test]
fn integers_have_a_byte_for_each_7_bits() {
    for bits in 0..64 {
        for number in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            let bytes = sent::<Postcard, _>(number);
            assert_eq!(bytes, postcard::to_allocvec(&number).expect("a form"));
            assert_eq!(read::<Postcard, u64>(&bytes), Ok(number));
        }
    }
    assert_eq!(sent::<Postcard, _>(300_u16), [0xac, 0x02]);
    assert_eq!(sent::<Postcard, _>(-1_i32), [0x01]);
}

#[test]
fn integers_may_have_zeros_at_the_end_until_they_are_too_long() {
    fn read_of<T>(length: usize) -> Result<T, String>
    where
        T: for<'a> serde::Deserialize<'a>,
    {
        // More bytes follow than are looked at together.
        let zero = [vec![0x80; length - 1], vec![0], vec![0x7f; 10]].concat();
        let read = read::<Postcard, (T, [u8; 10])>(&zero);
        read.map(|(zero, _)| zero)
    }
    let too_long = |byte| {
        format!("the Postcard is wrong at byte {byte}: an integer is too large for its type")
    };
    for length in 1..12 {
        let expected = |longest| {
            if length > longest {
                Err(too_long(longest))
            } else {
                Ok(0)
            }
        };
        assert_eq!(read_of::<u16>(length).map(u64::from), expected(3));
        assert_eq!(read_of::<u32>(length).map(u64::from), expected(5));
        assert_eq!(read_of::<u64>(length), expected(10));
    }
}

#[test]
fn messages_are_whole_wherever_what_is_collected_is_full() {
    for before in 0..600 {
        let value = (
            vec![1_u8; before],
            (u64::MAX, 1_u64 << 40, 1_u32 << 30, 300_u16),
            "x".repeat(before / 2),
            (1.5_f64, -1_i128),
        );
        let expected = postcard::to_allocvec(&value).expect("a form");
        assert_eq!(sent::<Postcard, _>(&value), expected);
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
            "byte 5: a list claims 4294967295 elements, which is more than the bytes left",
        ),
        (
            refused::<Postcard, Kind>(b"\x04"),
            "byte 1: invalid value: integer `4`, expected variant index 0 <= i < 4",
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
