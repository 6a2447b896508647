//! The messages of every format come through every framing that can carry them, however the stream
//! is split; and what a framing cannot carry is rejected by it.

use std::{collections::BTreeMap, fmt::Debug};

use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize};
use tcs::{
    format::{Decode, Encode, Frame, Json, MessagePack, Plain, Postcard, Protobuf, Writer},
    framing::{Framing, Raw, Side},
};
use tcs_tests::{
    cutting::{Found, pieces, read, write, write_one},
    naive::{self, Naive},
};

const LIMIT: usize = 1 << 16;

/// How many random cases each combination gets.
const CASES: u32 = 32;

/// A value of all that serde knows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
enum Value {
    Nothing,
    Truth(bool),
    Number(i64),
    Ratio(f64),
    Letter(char),
    Text(String),
    List(Vec<Self>),
    Pair(u8, Box<Self>),
    Named {
        maybe: Option<u16>,
        pairs: BTreeMap<String, i16>,
        raw: Vec<u8>,
        result: Result<(), String>,
    },
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tree {
    #[prost(sint64, tag = "1")]
    number: i64,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(bytes = "vec", repeated, tag = "3")]
    raw: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    children: Vec<Self>,
}

fn value() -> impl Strategy<Value = Value> {
    let named = (
        any::<Option<u16>>(),
        vec((text(), any::<i16>()), 0..3),
        vec(any::<u8>(), 0..9),
        any::<bool>(),
    );
    let named = named.prop_map(|(maybe, pairs, raw, is_right)| Value::Named {
        maybe,
        pairs: pairs.into_iter().collect(),
        raw,
        result: is_right.then_some(()).ok_or_else(|| "no".to_owned()),
    });
    let leaf = prop_oneof![
        Just(Value::Nothing),
        any::<bool>().prop_map(Value::Truth),
        any::<i64>().prop_map(Value::Number),
        any::<i32>().prop_map(|number| Value::Ratio(f64::from(number) / 8.0)),
        any::<char>().prop_map(Value::Letter),
        text().prop_map(Value::Text),
        named,
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::List),
            (any::<u8>(), inner).prop_map(|(number, inner)| Value::Pair(number, Box::new(inner))),
        ]
    })
}

/// Text of any characters, and text that looks like the ends of messages.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\r\n.;,:\"\\\\0-9-]{0,12}"]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (any::<i64>(), text(), vec(vec(any::<u8>(), 0..5), 0..3));
    let leaf = leaf.prop_map(|(number, text, raw)| Tree {
        number,
        text,
        raw,
        children: Vec::new(),
    });
    leaf.prop_recursive(3, 6, 2, |inner| {
        vec(inner, 0..3).prop_map(|children| Tree {
            children,
            ..Tree::default()
        })
    })
}

/// What the formats are given; each takes what it has a form for.
#[derive(Clone, Debug)]
struct Given {
    texts: Vec<String>,
    numbers: Vec<i64>,
    raw: Vec<Vec<u8>>,
    values: Vec<Value>,
    trees: Vec<Tree>,
}

prop_compose! {
    fn given()(
        texts in vec(text(), 0..4),
        // Most would otherwise be large.
        numbers in vec((any::<i64>(), 0..64_u32), 0..4),
        raw in vec(vec(any::<u8>(), 0..40), 0..4),
        values in vec(value(), 0..4),
        trees in vec(tree(), 0..4),
    ) -> Given {
        let numbers = numbers.into_iter().map(|(number, shift)| number >> shift).collect();
        Given { texts, numbers, raw, values, trees }
    }
}

/// Messages of which each framing can carry some in each format.
fn examples() -> Given {
    let texts = [
        "",
        "a",
        "ab",
        "abc",
        "abcd",
        "Zoë 🦀",
        "a\nb\r\n",
        ";",
        "a--b",
        "\r\n.\r\n",
        "\0\"\\",
    ];
    let named = Value::Named {
        maybe: Some(10),
        pairs: [("ten".to_owned(), -10)].into(),
        raw: b"\n;--\r\n.\r\n".to_vec(),
        result: Err("no".to_owned()),
    };
    let tree = Tree {
        number: -5,
        text: "\n".to_owned(),
        raw: vec![vec![0xff; 3], Vec::new()],
        children: Vec::new(),
    };
    Given {
        texts: texts.map(str::to_owned).to_vec(),
        numbers: vec![0, -1, 10, 1_234, i64::MIN, i64::MAX],
        raw: vec![Vec::new(), vec![0, 1, 2, 0xff], vec![b'x'; 300]],
        values: vec![Value::List(vec![Value::Nothing, named])],
        trees: vec![
            Tree::default(),
            Tree {
                children: vec![tree],
                ..Tree::default()
            },
        ],
    }
}

/// The bytes of a message, and what fails unless bytes are read as the same.
struct Sent {
    bytes: Vec<u8>,
    check: Check,
}

type Check = Box<dyn Fn(&[u8])>;

fn sent<M, T>(value: T) -> Sent
where
    T: Clone + Debug + PartialEq + Encode<M> + for<'a> Decode<'a, M> + 'static,
{
    let mut bytes = Vec::new();
    let encoded = Encode::<M>::encode(value.clone(), &mut Writer::new(&mut bytes, LIMIT));
    encoded.expect("it has a form");
    let check = Box::new(move |bytes: &[u8]| {
        assert_eq!(T::decode(Frame::new(bytes)).as_ref(), Ok(&value));
    });
    Sent { bytes, check }
}

fn plain(given: Given) -> Vec<Sent> {
    let texts = given.texts.into_iter().map(sent::<Plain, _>);
    let numbers = given.numbers.into_iter().map(sent::<Plain, _>);
    let raw = given.raw.into_iter().map(sent::<Plain, _>);
    texts
        .chain(numbers)
        .chain(raw)
        .chain([sent::<Plain, _>(())])
        .collect()
}

macro_rules! by_serde {
    ($($name:ident: $format:ty;)*) => {$(
        fn $name(given: Given) -> Vec<Sent> {
            let texts = given.texts.into_iter().map(sent::<$format, _>);
            let numbers = given.numbers.into_iter().map(sent::<$format, _>);
            let raw = given.raw.into_iter().map(sent::<$format, _>);
            let values = given.values.into_iter().map(sent::<$format, _>);
            texts
                .chain(numbers)
                .chain(raw)
                .chain(values)
                .chain([sent::<$format, _>(())])
                .collect()
        }
    )*};
}

by_serde! {
    json: Json;
    postcard: Postcard;
    messagepack: MessagePack;
}

fn protobuf(given: Given) -> Vec<Sent> {
    let texts = given.texts.into_iter().map(sent::<Protobuf, _>);
    let numbers = given.numbers.into_iter().map(sent::<Protobuf, _>);
    let raw = given.raw.into_iter().map(sent::<Protobuf, _>);
    let trees = given.trees.into_iter().map(sent::<Protobuf, _>);
    texts
        .chain(numbers)
        .chain(raw)
        .chain(trees)
        .chain([sent::<Protobuf, _>(())])
        .collect()
}

/// Some messages in one stream, and what was sent with them.
struct Stream {
    bytes: Vec<u8>,
    /// Stands before them, so that none is the first on its connection.
    opening: Option<Vec<u8>>,
    sent: Vec<Sent>,
}

/// Writes what the framing can carry; the rest cannot be sent, or is no message, like nothing until an
/// end.
fn streams<F: Framing>(naive: Naive, sent: Vec<Sent>) -> Vec<Stream> {
    let carried = sent.into_iter().filter(|sent| {
        let framed = (naive.encode)(&sent.bytes);
        assert_eq!(write_one::<F>(&sent.bytes).ok(), framed, "{:?}", sent.bytes);
        framed.is_some_and(|framed| (naive.decode)(&framed) == Some((&sent.bytes, &[])))
    });
    let stream = |opening: Option<Vec<u8>>, sent: Vec<Sent>| {
        let messages = opening.iter().chain(sent.iter().map(|sent| &sent.bytes));
        let bytes = write::<F>(&messages.cloned().collect::<Vec<_>>());
        Stream {
            bytes,
            opening,
            sent,
        }
    };
    if naive.once {
        return carried.map(|sent| stream(None, vec![sent])).collect();
    }
    vec![stream(
        Some((naive.fit)(b"hello".to_vec())),
        carried.collect(),
    )]
}

impl Stream {
    fn is_read_from<F: Framing>(&self, side: Side, pieces: &[&[u8]]) {
        let (found, error) = read::<F>(side, pieces, LIMIT);
        assert_eq!(error, None);
        let opening = self
            .opening
            .iter()
            .map(|bytes| Found::Message(bytes.clone()));
        let (first, messages) = found.split_at(opening.len());
        assert_eq!(first, opening.collect::<Vec<_>>());
        assert_eq!(messages.len(), self.sent.len(), "{messages:?}");
        for (found, sent) in messages.iter().zip(&self.sent) {
            let Found::Message(bytes) = found else {
                panic!("{found:?}");
            };
            (sent.check)(bytes);
        }
    }
}

fn random_cuts_change_nothing<F: Framing>(naive: Naive, sent: Vec<Sent>, cuts: &[usize]) {
    for stream in streams::<F>(naive, sent) {
        let cuts = cuts.iter().map(|cut| cut % (stream.bytes.len() + 1));
        let split = pieces(&stream.bytes, cuts.collect());
        let bytes: Vec<_> = stream.bytes.chunks(1).collect();
        for side in [Side::Server, Side::Client] {
            stream.is_read_from::<F>(side, &[&stream.bytes]);
            stream.is_read_from::<F>(side, &split);
            stream.is_read_from::<F>(side, &bytes);
        }
    }
}

fn single_cuts_change_nothing<F: Framing>(naive: Naive, sent: Vec<Sent>) {
    let streams = streams::<F>(naive, sent);
    let carried: usize = streams.iter().map(|stream| stream.sent.len()).sum();
    assert!(carried > 0, "it should carry some");
    for stream in streams {
        for at in 0..=stream.bytes.len() {
            for side in [Side::Server, Side::Client] {
                stream.is_read_from::<F>(side, &pieces(&stream.bytes, vec![at]));
            }
        }
    }
}

macro_rules! combination {
    ($framing:ty, $naive:ident, $name:ident, $format:ident) => {
        mod $name {
            use super::super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(CASES))]
                #[test]
                fn random_cuts(given in given(), cuts in vec(any::<usize>(), 0..10)) {
                    let sent = super::super::$name(given);
                    random_cuts_change_nothing::<$framing>(naive::$naive, sent, &cuts);
                }
            }

            #[test]
            fn single_cuts() {
                let sent = super::super::$name(examples());
                single_cuts_change_nothing::<$framing>(naive::$naive, sent);
            }
        }
    };
}

each_combination!(combination);

/// A request of `Raw` is what has arrived, so only its replies may be cut.
#[test]
fn raw_carries_every_format() {
    for format in [plain, json, postcard, messagepack, protobuf] {
        for sent in format(examples()) {
            let bytes = write::<Raw>(std::slice::from_ref(&sent.bytes));
            let stream = Stream {
                bytes,
                opening: None,
                sent: vec![sent],
            };
            for at in 0..=stream.bytes.len() {
                stream.is_read_from::<Raw>(Side::Client, &pieces(&stream.bytes, vec![at]));
            }
            if !stream.bytes.is_empty() {
                stream.is_read_from::<Raw>(Side::Server, &[&stream.bytes]);
            }
        }
    }
}

/// These are the ones that people combine.
#[test]
fn json_is_carried_by_lines_whatever_it_says() {
    for sent in json(examples()) {
        for framed in [
            write_one::<tcs::framing::Lines>(&sent.bytes),
            write_one::<tcs::framing::CrlfLines>(&sent.bytes),
        ] {
            framed.expect("its line feeds are escaped");
        }
    }
}

#[test]
fn postcard_with_a_line_feed_is_not_carried_by_lines() {
    let sent = sent::<Postcard, _>((1_u8, "a\nb".to_owned()));
    let error = write_one::<tcs::framing::Lines>(&sent.bytes).expect_err("two lines");
    let text = "the message contains a line feed, which would end it early";
    assert_eq!(error.to_string(), text);
}
