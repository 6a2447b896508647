//! A server whose functions never return: one waits, the other blocks its thread.

use std::{future::pending, thread};

use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
async fn hang(request: &str) -> String {
    println!("got {request}");
    match request {
        "block" => loop {
            thread::park();
        },
        _ => pending().await,
    }
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Hang)
        .port(0)
        .on_listening(|addr| println!("{addr}"))
        .run()
}
