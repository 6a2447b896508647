//! A server and a client in one process: one request and one reply.
//!
//! ```text
//! cargo run --example hello
//! ```
//!
//! The client sends `Hello Server!` and prints the reply:
//!
//! ```text
//! Response: Hello Client!
//! ```
//!
//! Try: change the client's request, and see what the server replies.

use tcs::{Client, OnceServer, client_protocol, server_protocol};

#[server_protocol]
fn say_hello(request: &str) -> &'static str {
    match request {
        "Hello Server!" => "Hello Client!",
        _ => "Who is there?",
    }
}

#[client_protocol(request = "Hello Server!")]
fn print_reply(reply: &str) {
    println!("Response: {reply}");
}

fn main() -> tcs::Result<()> {
    // With port 0, the system chooses a free port.
    let server = OnceServer::new(SayHello).port(0).start()?;
    Client::new(PrintReply).address(server.local_addr()).run()?;
    server.join()?;
    Ok(())
}
