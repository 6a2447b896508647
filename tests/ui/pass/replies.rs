//! What a function may return, and from what it may borrow.

use std::{borrow::Cow, fmt::Display};

use tcs::{Response, server_protocol};

pub struct Names(Vec<String>);

#[server_protocol]
fn nothing(_: &str) {}

#[server_protocol]
fn constant(_: &str) -> &'static str {
    "constant"
}

#[server_protocol]
async fn of_request(request: &str) -> &str {
    tokio::task::yield_now().await;
    request.trim()
}

#[server_protocol]
async fn of_state<'n>(index: usize, #[state] names: &'n Names) -> Option2<'n> {
    tokio::task::yield_now().await;
    Ok(names.0.get(index).map_or("", String::as_str))
}

type Option2<'n> = Result<&'n str, String>;

#[server_protocol]
async fn of_session<'s>(request: &str, #[session] seen: &'s mut String) -> &'s str {
    tokio::task::yield_now().await;
    seen.push_str(request);
    seen
}

#[server_protocol]
fn cow2(request: &str) -> Cow<'_, str> {
    request.into()
}

#[server_protocol]
fn fallible(request: &str) -> Result<&str, std::num::ParseIntError> {
    request.parse::<u8>().map(|_| request)
}

/// An error that is not `Send`: replies need not be.
#[server_protocol]
async fn boxed_error(request: &str) -> Result<usize, Box<dyn Display>> {
    tokio::task::yield_now().await;
    Ok(request.len())
}

/// A type with the name of a trait.
type Future = usize;

#[server_protocol]
fn named_future(request: &str) -> Result<Future, Box<dyn Display>> {
    Ok(request.len())
}

#[server_protocol]
fn last(request: &str) -> Response<&str> {
    Response::ReplyAndClose(request)
}

#[server_protocol]
fn fallible_answer(request: &str) -> Result<Response<u8>, std::num::ParseIntError> {
    request.parse().map(Response::Reply)
}

/// A caller reads a constant reply from what arrived.
#[server_protocol]
fn version(_: ()) -> Result<&'static str, &'static str> {
    Ok("1.0")
}

fn main() {
    let _ = async |mut connection: tcs::Connection<tcs::framing::LengthPrefixed>| {
        let version: &str = connection.call::<Version>(()).await?;
        Ok::<usize, tcs::Error>(version.len())
    };
    let _ = (Nothing, Constant, OfRequest, OfState::new(Names(Vec::new())), OfSession, Cow2);
    let _ = (Fallible, BoxedError, Last, FallibleAnswer);
}
