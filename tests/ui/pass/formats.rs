//! The formats that features bring, and what they can send.

use std::{borrow::Cow, collections::HashMap};

use serde::{Deserialize, Serialize};
use tcs::{
    Response, client_protocol, format::{Json, MessagePack, Postcard, Protobuf}, framing::Lines,
    server_protocol,
};

#[derive(Deserialize, Serialize)]
pub struct Order<'a> {
    item: &'a str,
    #[serde(borrow)]
    note: Cow<'a, str>,
}

#[derive(Serialize)]
struct Receipt<'a, T> {
    item: &'a str,
    more: T,
}

#[server_protocol(format = Json)]
fn borrowed(order: Order<'_>) -> Result<Receipt<'_, Cow<'_, str>>, String> {
    Ok(Receipt { item: order.item, more: order.note })
}

#[server_protocol(format = Json, framing = Lines, greeting = Receipt { item: "hello", more: () })]
async fn text(name: Cow<'_, str>, #[state] known: &HashMap<String, u8>) -> Option<u8> {
    tokio::task::yield_now().await;
    known.get(&*name).copied()
}

#[server_protocol(format = Postcard, session = Vec::new())]
async fn from_session<'s>(number: u8, #[session] seen: &'s mut Vec<u8>) -> &'s [u8] {
    tokio::task::yield_now().await;
    seen.push(number);
    seen
}

#[server_protocol(format = MessagePack)]
fn bytes(raw: &[u8]) -> Response<&[u8]> {
    Response::ReplyAndClose(raw)
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    #[prost(int64, tag = "1")]
    value: i64,
}

#[server_protocol(format = Protobuf)]
fn negated(number: Number) -> Response<Number> {
    Response::Reply(Number { value: -number.value })
}

#[client_protocol(server = Negated, request = |value: i64| Number { value })]
fn negative(reply: Number) -> i64 {
    reply.value
}

#[client_protocol(format = Json, request = |item: &str| Order { item, note: "".into() })]
fn bought(reply: Result<Order<'_>, String>) -> Result<String, String> {
    reply.map(|order| order.item.to_owned())
}

#[client_protocol(format = Postcard, reply = Vec<u8>)]
fn asked(number: u8) -> u8 {
    number
}

fn main() {
    let _ = (Borrowed, Text::new(HashMap::new()), FromSession, Bytes, Negated);
    let _ = (Negative { value: 1 }, Bought { item: "tea" }, Asked { number: 1 });
}
