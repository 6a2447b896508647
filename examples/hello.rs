//! A server and a client in one process: one request, one reply, and it ends.
//!
//! ```text
//! cargo run --example hello
//! ```
//!
//! "Hello Server!" goes out, and this is printed:
//!
//! ```text
//! Response: Hello Client!
//! ```
//!
//! Try: change the client's request, and see what the server makes of it.

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
    // Port 0 is any that is free.
    let server = OnceServer::new(SayHello).port(0).start()?;
    Client::new(PrintReply).address(server.local_addr()).run()?;
    server.join()?;
    Ok(())
}
