//! What a request may be.

use std::borrow::Cow;

use tcs::{
    format::{Decode, DecodeError, Frame, Plain}, framing::Lines, protocol::{Lossy, NoRequest},
    server_protocol,
};

struct Pair<'a>(&'a str, &'a str);

impl<'a> Decode<'a, Plain> for Pair<'a> {
    fn decode(frame: Frame<'a>) -> Result<Self, DecodeError> {
        let (a, b) = frame.text()?.split_once(' ').ok_or_else(|| DecodeError::new("no pair"))?;
        Ok(Self(a, b))
    }
}

#[server_protocol]
fn text(_request: &str) {}

#[server_protocol]
fn bytes(request: &[u8]) -> &[u8] {
    request
}

#[server_protocol]
fn owned(mut request: String) -> String {
    request.push('!');
    request
}

#[server_protocol]
fn number(request: u64) -> u64 {
    request + 1
}

#[server_protocol]
fn nothing(_: ()) {}

#[server_protocol(framing = Lines)]
fn daytime(_: NoRequest) -> String {
    "noon".to_owned()
}

#[server_protocol]
async fn broken_text(request: Lossy<'_>) -> Lossy<'_> {
    request
}

#[server_protocol(blocking)]
fn broken_text_blocking(request: Lossy<'_>) -> usize {
    request.chars().count()
}

#[server_protocol]
fn array([a, b]: &[u8; 2]) -> u8 {
    a + b
}

#[server_protocol(Pairs)]
fn pair(Pair(a, b): Pair<'_>) -> String {
    format!("{b} {a}")
}

#[server_protocol]
fn named<'x>(request: Pair<'x>) -> &'x str {
    request.1
}

#[server_protocol(Cows)]
async fn cow(request: Cow<'_, str>) -> Cow<'_, str> {
    request
}

#[server_protocol]
fn after_state(#[state] more: &u32, request: u32) -> u32 {
    request + more
}

fn main() {
    let _ = (Text, Bytes, Owned, Number, Nothing, Array, Pairs, Named, Cows, AfterState::new(1));
}
