//! A client that asks for one greeting: the whole program, with `tcs` as its only dependency.
//!
//! ```text
//! cargo run --example greet_client
//! ```
//!
//! With `cargo run --example greet_server` in another terminal, it prints:
//!
//! ```text
//! Response: Hello, Ann!
//! ```
//!
//! Try: run it without the server. The error names the address that does not answer.

use tcs::{Client, client_protocol};

#[client_protocol(request = "Ann")]
fn print_reply(reply: &str) {
    println!("Response: {reply}");
}

fn main() -> tcs::Result<()> {
    Client::new(PrintReply).run()
}
