//! Functions with parameters of types, constants and lifetimes.

use std::fmt::Display;

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

fn main() {
    let _ = ConcurrentServer::new(Get::new(String::new()));
    let _ = ConcurrentServer::new(Find2::new(String::new()));
    let _ = ConcurrentServer::new(All::new(vec![1], None));
    let _ = ConcurrentServer::new(Repeat::<4>);
    let _ = ConcurrentServer::new(Grid::<u8, 3>::new(Vec::new()));
    let _ = (Fetch::new(7), Ask::new(&7));
}
