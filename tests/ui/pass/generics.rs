//! Functions with parameters of types, constants and lifetimes.

use std::{borrow::Cow, fmt::Display};

use tcs::{ConcurrentServer, client_protocol, server_protocol};

pub trait Store {
    fn get(&self, key: &str) -> String;
}

impl Store for String {
    fn get(&self, key: &str) -> String {
        format!("{self} {key}")
    }
}

pub trait Find<'a> {
    fn find(&'a self) -> &'a str;
}

impl<'a> Find<'a> for String {
    fn find(&'a self) -> &'a str {
        self
    }
}

#[server_protocol]
async fn get<S: Store>(key: &str, #[state] store: &S) -> String {
    tokio::task::yield_now().await;
    store.get(key)
}

#[server_protocol(Find2)]
async fn find<'a, S: Find<'a> + 'a>(_: &'a str, #[state] store: &'a S) -> &'a str
where
    S: Clone,
{
    tokio::task::yield_now().await;
    store.find()
}

#[server_protocol]
fn all<'a, 'b: 'a, T>(_: &'a str, #[state] list: &'b [T], #[state] _other: &Option<T>) -> String
where
    T: Display + 'a,
    &'a str: Into<String>,
{
    list.iter().map(T::to_string).collect()
}

#[server_protocol]
fn repeat<const N: usize>(request: &[u8; N]) -> [u8; N] {
    *request
}

#[server_protocol]
fn grid<T: Copy + Into<u64>, const N: usize>(at: usize, #[state] grid: &[[T; N]]) -> u64 {
    grid.iter().flatten().nth(at).map_or(0, |&cell| cell.into())
}

#[server_protocol]
fn sum<S>(_: (), #[state] list: &S) -> u64
where
    for<'b> &'b S: IntoIterator<Item = &'b u64>,
{
    list.into_iter().sum()
}

#[server_protocol]
fn apply<'a, F, G, H: for<'x> Fn(&'x str, &'a str) -> usize>(
    name: &'a str,
    #[state] f: &F,
    #[state] g: &G,
    #[state] h: &H,
    #[state] _pointer: &Option<for<'x> fn(&'x F, &u8) -> &'x F>,
) -> String
where
    F: for<'x> Fn(&'x str) -> &'x str,
    G: Fn(&'a str) -> Cow<'a, str>,
    &'a str: Into<Cow<'a, str>>,
    for<'b> &'b F: Send,
    Cow<'a, str>: for<'b> PartialEq<&'b str>,
{
    let cow: Cow<'a, str> = name.into();
    format!("{} {} {}", f(name), g(name), h(&cow, name))
}

#[server_protocol]
fn call<'a>(name: &'a str, pointer: Pointer<fn(&'a str) -> &'a str>) -> &'a str {
    pointer.0(name)
}

pub struct Pointer<F>(F);

impl<'a> tcs::protocol::FromContext<'a> for Pointer<fn(&'a str) -> &'a str> {
    fn from_context(_: &'a tcs::ConnectionInfo) -> Result<Self, tcs::Rejection> {
        Ok(Self(|text| text))
    }
}

#[client_protocol(request = format!("{key}"))]
fn fetch<K: Display>(reply: &str, key: K) -> (usize, K) {
    (reply.len(), key)
}

#[client_protocol(reply = String)]
fn ask<K>(key: &K) -> String
where
    K: Display + Sync,
{
    key.to_string()
}

/// A client of a generic server. Without `'static`, `Get<S>` would be no protocol.
#[client_protocol(server = Get<S>, request = "key")]
fn got<S: Store + Send + Sync + 'static>(reply: String, store: S) -> (S, String) {
    (store, reply)
}

fn main() {
    let _ = Got::new(String::new());
    let _ = ConcurrentServer::new(Get::new(String::new()));
    let _ = ConcurrentServer::new(Find2::new(String::new()));
    let _ = ConcurrentServer::new(All::new(vec![1], None));
    let _ = ConcurrentServer::new(Repeat::<4>);
    let _ = ConcurrentServer::new(Sum::new(vec![1]));
    fn same(text: &str) -> &str {
        text
    }
    fn cow(text: &str) -> Cow<'_, str> {
        text.into()
    }
    let apply = Apply::new(same, cow, |one: &str, other: &str| one.len() + other.len(), None);
    let _ = (ConcurrentServer::new(apply), ConcurrentServer::new(Call));
    let _ = ConcurrentServer::new(Grid::<u8, 3>::new(Vec::new()));
    let _ = (Fetch::new(7), Ask::new(&7));
}
