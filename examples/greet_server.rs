//! A server that greets: the whole program, with `tcs` as its only dependency.
//!
//! ```text
//! cargo run --example greet_server
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C, then finishes the requests in flight and exits.
//!
//! Try: run `cargo run --example greet_client` in a second terminal. Then type text into
//! `nc localhost 1234`: the server says that it expects length-prefixed frames.

use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet).run()
}
