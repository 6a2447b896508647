//! What a state may be.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tcs::{ConcurrentServer, server_protocol};

trait Store: Send + Sync {
    fn get(&self) -> u32;
}

struct One;

impl Store for One {
    fn get(&self) -> u32 {
        1
    }
}

#[server_protocol]
fn several(
    request: u32,
    #[state] total: &Mutex<u32>,
    #[state] text: &str,
    #[state] list: &[u32],
    #[state] path: &PathBuf,
    #[state] shared: &Arc<u32>,
    #[state] constant: &&'static str,
) -> usize {
    let _ = (total, path, shared, constant, request);
    text.len() + list.len()
}

#[server_protocol]
async fn any_store(request: u32, #[state] store: &dyn Store) -> u32 {
    tokio::task::yield_now().await;
    request + store.get()
}

#[server_protocol]
async fn any_text(_: (), #[state] text: &(dyn std::fmt::Display + Send + Sync)) -> String {
    tokio::task::yield_now().await;
    text.to_string()
}

#[server_protocol]
async fn constants(request: &str, #[state] text: &&'static str, #[session] last: &mut &'static str) -> usize {
    tokio::task::yield_now().await;
    *last = text;
    request.len()
}

#[server_protocol]
fn function(request: u32, #[state] f: &fn(&u32) -> u32) -> u32 {
    f(&request)
}

/// Two protocols of one function, with the helper attributes of both.
#[server_protocol(OnLines, framing = tcs::framing::Lines)]
#[server_protocol(OnFrames)]
fn twice(request: u32, #[state] factor: &u32) -> u32 {
    request * factor
}

fn main() {
    let _ = (ConcurrentServer::new(OnLines::new(2)), ConcurrentServer::new(OnFrames::new(2)));
    let several = Several {
        total: Mutex::new(0),
        text: "text".to_owned(),
        list: vec![1, 2],
        path: PathBuf::new(),
        shared: Arc::new(1),
        constant: "constant",
    };
    let _ = ConcurrentServer::new(several);
    let _ = ConcurrentServer::new(AnyStore::new(Box::new(One)));
    let _ = ConcurrentServer::new(AnyText::new(Box::new("text")));
    let _ = ConcurrentServer::new(Constants::new("text"));
    let _ = ConcurrentServer::new(Function::new(|number| number + 1));
    let _ = ConcurrentServer::new(Arc::new(AnyStore::new(Box::new(One))));
}
