//! Values of every kind that serde knows.
#![cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#![allow(dead_code, reason = "a format alone uses some of it")]

use std::{borrow::Cow, collections::BTreeMap};

use proptest::{collection::vec, prelude::*, string::string_regex};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Everything {
    small: (u8, i8, bool, char),
    medium: (u16, i16, f32),
    large: (u32, i32, u64, i64, f64),
    huge: (u128, i128),
    text: String,
    numbers: Vec<u32>,
    pairs: BTreeMap<String, i16>,
    maybe: Option<u16>,
    kinds: Vec<Kind>,
    tree: Tree,
    unit: (),
    marker: Marker,
    wrapped: Wrapped,
    result: Result<u8, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Wrapped(i64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    Unit,
    One(u64),
    Two(i8, String),
    Named { a: u32, b: Option<bool> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    value: u16,
    children: Vec<Self>,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        any::<u64>().prop_map(Kind::One),
        (any::<i8>(), any::<String>()).prop_map(|(a, b)| Kind::Two(a, b)),
        (any::<u32>(), any::<Option<bool>>()).prop_map(|(a, b)| Kind::Named { a, b }),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = any::<u16>().prop_map(|value| Tree {
        value,
        children: Vec::new(),
    });
    leaf.prop_recursive(5, 20, 4, |children| {
        (any::<u16>(), vec(children, 0..4)).prop_map(|(value, children)| Tree { value, children })
    })
}

/// Integers of every size. Without the shift, most would be large.
fn numbers() -> impl Strategy<Value = Vec<u32>> {
    vec(
        (any::<u32>(), 0..32_u32).prop_map(|(number, shift)| number >> shift),
        0..20,
    )
}

prop_compose! {
    pub(super) fn everything()(
        small in any::<(u8, i8, bool, char)>(),
        medium in any::<(u16, i16, f32)>(),
        large in any::<(u32, i32, u64, i64, f64)>(),
        shift in 0..64_u32,
        huge in any::<(u128, i128)>(),
        text in any::<String>(),
        numbers in numbers(),
        pairs in vec((string_regex("[a-z]{1,9}").expect("a pattern"), any::<i16>()), 0..4),
        maybe in any::<Option<u16>>(),
        kinds in vec(kind(), 0..5),
        (tree, result) in (tree(), any::<Result<u8, String>>()),
    ) -> Everything {
        let (a, b, c, d, e) = large;
        Everything {
            small,
            medium,
            large: (a, b, c >> shift, d >> shift, e),
            huge: (huge.0 >> (2 * shift), huge.1 >> (2 * shift)),
            text,
            numbers,
            pairs: pairs.into_iter().collect(),
            maybe,
            kinds,
            tree,
            unit: (),
            marker: Marker,
            wrapped: Wrapped(d),
            result,
        }
    }
}

/// A struct that borrows text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Borrowing<'a> {
    pub(super) name: &'a str,
    #[serde(borrow)]
    pub(super) note: Cow<'a, str>,
}

/// An enum that contains itself. Each level takes bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Nest {
    End,
    In(Box<Self>),
}

impl Nest {
    /// Returns a value of `levels` enums, one inside the other.
    pub(super) fn of(levels: usize) -> Self {
        (1..levels).fold(Self::End, |inner, _| Self::In(Box::new(inner)))
    }
}

/// A struct that contains itself. A level may take no bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chain(Option<Box<Self>>);

/// A list of lists.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lists(pub(super) Vec<Self>);

/// Fails in `Serialize`, after a part of it.
#[derive(Debug, Serialize)]
pub(super) struct Failing {
    first: u8,
    #[serde(serialize_with = "fail")]
    second: (),
}

impl Failing {
    pub(super) const NEW: Self = Self {
        first: 1,
        second: (),
    };
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde calls"
)]
fn fail<S: serde::Serializer>((): &(), _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("not\ntoday"))
}

/// An untagged enum: serde reads any value first, and the type from that value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Kept {
    Nothing,
    Byte(u8),
    Text(Box<str>),
    Raw(Vec<u8>),
    Tagged(Tagged),
    List(Vec<Self>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Tagged {
    File {
        raw: Vec<u8>,
        #[serde(flatten)]
        more: More,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct More {
    pub(super) rest: Vec<u8>,
}
