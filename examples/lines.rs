//! A server for `nc`: a line for each request, and one for each reply.
//!
//! ```text
//! cargo run --example lines
//! ```
//!
//! It listens on 127.0.0.1:1234 until Ctrl-C.
//!
//! Try, in a second terminal:
//!
//! ```text
//! printf 'Ann\n' | nc -N localhost 1234
//! ```
//!
//! It prints `Hello, Ann!`. With `nc localhost 1234` alone, each line that is typed is answered.

use tcs::{ConcurrentServer, framing::Lines, server_protocol};

#[server_protocol(framing = Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet).run()
}
