//! A server for `nc`: each request and each reply is a line.
//!
//! ```text
//! cargo run --example lines
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf 'Ann\n' | nc -N localhost 1234
//! ```
//!
//! It prints `Hello, Ann!`. With `nc localhost 1234`, the server answers each line that you type.

use tcs::{ConcurrentServer, framing::Lines, server_protocol};

#[server_protocol(framing = Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet).run()
}
