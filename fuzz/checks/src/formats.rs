//! Formats: they read what the crates under them read, and nothing else.

use std::{collections::BTreeMap, fmt::Debug};

use arbitrary::{Arbitrary, Unstructured};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tcs::format::{Decode, Encode, Frame, Json, MessagePack, Plain, Postcard, Protobuf, Writer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
struct Order {
    item: String,
    count: u32,
    price: Option<i64>,
    tags: Vec<Tag>,
    rest: BTreeMap<String, (bool, u8)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Arbitrary)]
enum Tag {
    None,
    Number(u16),
    Pair(char, Vec<u8>),
    Named { inner: Box<Option<Self>>, sign: i8 },
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint32, repeated, tag = "2")]
    counts: Vec<u32>,
    #[prost(message, optional, boxed, tag = "3")]
    inner: Option<Box<Self>>,
    #[prost(sint64, tag = "4")]
    sign: i64,
    #[prost(bytes = "vec", tag = "5")]
    raw: Vec<u8>,
    #[prost(double, tag = "6")]
    float: f64,
}

/// Reads any bytes as each type in each format.
pub fn check(data: &[u8]) {
    let Ok((how, bytes)) = <(u8, &[u8])>::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    comes_back(bytes);
    match how % 5 {
        0 => json(bytes),
        1 => messagepack(bytes),
        2 => postcard(bytes),
        3 => protobuf(bytes),
        _ => plain(bytes),
    }
}

fn decode<F, T: for<'a> Decode<'a, F>>(bytes: &[u8]) -> Result<T, String> {
    T::decode(Frame::new(bytes)).map_err(|error| error.to_string())
}

/// A value is what is read from what was written.
fn comes_back(bytes: &[u8]) {
    let Ok(order) = Order::arbitrary(&mut Unstructured::new(bytes)) else {
        return;
    };
    written_and_read::<Json, _>(&order);
    written_and_read::<MessagePack, _>(&order);
    written_and_read::<Postcard, _>(&order);
}

fn written_and_read<F, T>(value: &T)
where
    T: for<'a> Decode<'a, F> + PartialEq + Debug,
    for<'a> &'a T: Encode<F>,
{
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, 1 << 20);
    value.encode(&mut out).expect("each value can be written");
    match decode::<F, T>(&bytes) {
        Ok(read) => assert_eq!(read, *value),
        Err(error) => {
            // `serde_json` has a limit of its own.
            let is_deep = error.contains("nests deeper") || error.contains("recursion limit");
            assert!(is_deep, "{value:?}: {error}");
        }
    }
}

/// The guard may reject what nests deeply. Whatever else is read is the same.
fn same<T: PartialEq + Debug, E: Debug>(ours: Result<T, String>, theirs: Result<T, E>) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) if error.contains("nests deeper") => {}
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

fn json_as<T: DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    same::<T, _>(decode::<Json, T>(bytes), serde_json::from_slice(bytes));
}

fn json(bytes: &[u8]) {
    json_as::<Order>(bytes);
    json_as::<Tag>(bytes);
    json_as::<serde_json::Value>(bytes);
    json_as::<Vec<f32>>(bytes);
    json_as::<(i8, u64, char, String)>(bytes);
}

fn messagepack_as<T: DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let mut rest = bytes;
    let theirs: Result<T, _> = rmp_serde::from_read(&mut rest);
    match (decode::<MessagePack, T>(bytes), theirs) {
        (Ok(ours), Ok(theirs)) if rest.is_empty() => assert_eq!(ours, theirs),
        (Err(_), Err(_)) => {}
        (Err(_), Ok(_)) if !rest.is_empty() => {}
        (Err(error), Ok(_)) if error.contains("nests deeper") => {}
        (ours, theirs) => panic!(
            "{ours:?} is not {theirs:?}, with {} bytes behind it",
            rest.len()
        ),
    }
}

fn messagepack(bytes: &[u8]) {
    messagepack_as::<Order>(bytes);
    messagepack_as::<Tag>(bytes);
    messagepack_as::<(i8, u64, char, String)>(bytes);
}

fn postcard_as<T: DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    match (
        decode::<Postcard, T>(bytes),
        postcard::take_from_bytes::<T>(bytes),
    ) {
        (Ok(ours), Ok((theirs, []))) => assert_eq!(ours, theirs),
        (Err(_), Err(_) | Ok((_, [_, ..]))) => {}
        (Err(error), Ok(_)) if error.contains("nests deeper") => {}
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

fn postcard(bytes: &[u8]) {
    postcard_as::<Order>(bytes);
    postcard_as::<Tag>(bytes);
    postcard_as::<(i8, u64, char, String)>(bytes);
}

fn protobuf(bytes: &[u8]) {
    let theirs = <Message as prost::Message>::decode(bytes);
    match (decode::<Protobuf, Message>(bytes), theirs) {
        (Ok(ours), Ok(theirs)) => {
            // A float that is not a number is not equal to itself.
            assert_eq!(
                prost::Message::encode_to_vec(&ours),
                prost::Message::encode_to_vec(&theirs)
            );
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

fn plain_as<T: for<'a> Decode<'a, Plain> + std::str::FromStr + PartialEq + Debug>(bytes: &[u8]) {
    let theirs = str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse::<T>().ok());
    let ours = decode::<Plain, T>(bytes).ok();
    // Not a number is not equal to itself.
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

fn plain(bytes: &[u8]) {
    plain_as::<u8>(bytes);
    plain_as::<i64>(bytes);
    plain_as::<u128>(bytes);
    plain_as::<f64>(bytes);
    plain_as::<bool>(bytes);
    plain_as::<char>(bytes);
    plain_as::<std::net::SocketAddr>(bytes);
    assert_eq!(
        decode::<Plain, String>(bytes).ok().as_deref(),
        str::from_utf8(bytes).ok()
    );
}
