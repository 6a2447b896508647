//! A server that greets: the whole program, with `tcs` as its only dependency.
//!
//! ```text
//! cargo run --example greet_server
//! ```
//!
//! It listens on 127.0.0.1:1234 until Ctrl-C, then finishes what was begun and ends.
//!
//! Try: run `cargo run --example greet_client` in a second terminal. Then send it text with
//! `nc localhost 1234`, and see what it answers to a stranger.

use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet).run()
}
