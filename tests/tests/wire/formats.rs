//! The formats do what `WIRE.md` says, vector by vector, in both directions.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tcs::format::{Decode, Encode, Frame, Json, MessagePack, Plain, Postcard, Protobuf, Writer};
use tcs_tests::vectors::{bytes, lines, shown};

#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
struct Point {
    #[prost(int32, tag = "1")]
    x: i32,
    #[prost(sint64, tag = "2")]
    y: i64,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
struct Order {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint32, tag = "2")]
    count: u32,
    #[prost(uint32, repeated, tag = "3")]
    sizes: Vec<u32>,
    #[prost(message, optional, tag = "4")]
    at: Option<Point>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize, Serialize)]
struct Outcome {
    #[prost(oneof = "Is", tags = "1, 16")]
    is: Option<Is>,
}

#[derive(Clone, PartialEq, prost::Oneof, Deserialize, Serialize)]
enum Is {
    #[prost(uint64, tag = "1")]
    Cents(u64),
    #[prost(string, tag = "16")]
    Refused(String),
}

#[derive(Deserialize, Serialize)]
enum Kind {
    Unit,
    One(u8),
    Two(u8, String),
    Named { a: u8, b: Option<u32> },
}

#[derive(Deserialize)]
enum Nest {
    End,
    In(Box<Self>),
    Two(#[expect(dead_code, reason = "it is read")] u8, Box<Self>),
}

/// A `Nest`, whose value in a vector is how many levels deep it nests.
#[derive(Deserialize, Serialize)]
#[serde(from = "Nest")]
struct Levels(usize);

impl From<Nest> for Levels {
    fn from(nest: Nest) -> Self {
        Self(match nest {
            Nest::End => 1,
            Nest::In(inner) => 1 + Self::from(*inner).0,
            Nest::Two(_, inner) => 2 + Self::from(*inner).0,
        })
    }
}

/// The module of *Operations* in `WIRE.md`. The other formats write the same enums.
#[tcs::server_protocol(format = Json)]
mod bank {
    pub fn log_in(name: String) {
        drop(name);
    }

    pub fn withdraw(cents: u64, note: Option<String>) -> Result<u64, String> {
        note.map_or(Ok(cents), Err)
    }

    pub fn balance() -> u64 {
        0
    }
}

/// A line: a value, as JSON writes it, and its bytes.
struct Vector {
    number: usize,
    /// Whether the value becomes these bytes, and is not only read from them.
    is_written: bool,
    /// `wrong` if there is none.
    value: &'static str,
    bytes: Vec<u8>,
}

impl Vector {
    /// Reads a line, of which the name of the type is returned as well.
    fn of(number: usize, line: &'static str) -> (&'static str, Self) {
        let (left, right) = line.split_once(" = ").expect("two sides");
        let (first, rest) = left.split_once(' ').expect("a type and more");
        let (name, value, bytes) = if first == "reads" {
            let (name, bytes) = rest.split_once(' ').unwrap_or((rest, ""));
            (name, right, bytes)
        } else {
            (first, rest, right)
        };
        let vector = Self {
            number,
            is_written: first != "reads",
            value,
            bytes: if bytes == "nothing" {
                Vec::new()
            } else {
                self::bytes(bytes)
            },
        };
        (name, vector)
    }

    fn run<T, F>(&self)
    where
        T: DeserializeOwned + Serialize + Encode<F> + for<'a> Decode<'a, F>,
    {
        let place = format!("WIRE.md:{}", self.number);
        if self.is_written {
            let value: T = serde_json::from_str(self.value).expect(&place);
            let mut out = Vec::new();
            let written = Encode::<F>::encode(value, &mut Writer::new(&mut out, 8 << 20));
            written.expect(&place);
            assert_eq!(shown(&out), shown(&self.bytes), "{place}");
        }
        let read = T::decode(Frame::new(&self.bytes));
        let read = read.map_or_else(
            |_| "wrong".to_owned(),
            |value| serde_json::to_string(&value).expect(&place),
        );
        assert_eq!(read, self.value, "{place}");
    }
}

/// Runs all vectors of a format, of which there are `least` or more.
fn run_vectors(name: &str, least: usize, run: fn(&str, &Vector)) {
    let mut count = 0;
    for (number, line) in lines(name) {
        let (name, vector) = Vector::of(number, line);
        run(name, &vector);
        count += 1;
    }
    assert!(count >= least, "only {count} vectors");
}

/// Runs a vector as the type of a name.
macro_rules! types {
    ($format:ty: $($name:literal is $message:ty,)+) => {
        |name, vector| match name {
            $($name => vector.run::<$message, $format>(),)+
            _ => panic!("WIRE.md:{}: unknown type {name}", vector.number),
        }
    };
}

/// The types that serde knows.
macro_rules! serde_types {
    ($format:ty) => {
        types! {
            $format:
            "unit" is (),
            "bool" is bool,
            "char" is char,
            "text" is String,
            "bytes" is Vec<u8>,
            "u8" is u8,
            "u16" is u16,
            "u32" is u32,
            "u64" is u64,
            "u128" is u128,
            "i8" is i8,
            "i16" is i16,
            "i32" is i32,
            "i64" is i64,
            "f32" is f32,
            "f64" is f64,
            "numbers" is Vec<u32>,
            "maybe" is Option<u32>,
            "pair" is (u8, String),
            "ages" is BTreeMap<String, u8>,
            "point" is Point,
            "order" is Order,
            "kind" is Kind,
            "result" is Result<u32, String>,
            "nest" is Levels,
            "request" is bank::Request,
            "reply" is bank::Reply,
        }
    };
}

#[test]
fn plain_does_as_specified() {
    run_vectors(
        "Plain",
        20,
        types! {
            Plain:
            "unit" is (),
            "bool" is bool,
            "char" is char,
            "text" is String,
            "bytes" is Vec<u8>,
            "u8" is u8,
            "i64" is i64,
            "u128" is u128,
            "f64" is f64,
            "address" is SocketAddr,
        },
    );
}

#[test]
fn json_does_as_specified() {
    run_vectors("Json", 30, serde_types!(Json));
}

#[test]
fn postcard_does_as_specified() {
    run_vectors("Postcard", 50, serde_types!(Postcard));
}

#[test]
fn messagepack_does_as_specified() {
    run_vectors("MessagePack", 50, serde_types!(MessagePack));
}

#[test]
fn protobuf_does_as_specified() {
    run_vectors(
        "Protobuf",
        30,
        types! {
            Protobuf:
            "unit" is (),
            "bool" is bool,
            "text" is String,
            "bytes" is Vec<u8>,
            "u32" is u32,
            "u64" is u64,
            "i32" is i32,
            "i64" is i64,
            "f32" is f32,
            "f64" is f64,
            "point" is Point,
            "order" is Order,
            "outcome" is Outcome,
        },
    );
}
