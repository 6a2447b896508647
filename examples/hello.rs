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

use std::{sync::mpsc, thread};

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
    let (listening, address) = mpsc::channel();
    let server = thread::spawn(|| {
        OnceServer::new(SayHello)
            .port(0) // any that is free
            .on_listening(move |address| listening.send(address).expect("the client waits"))
            .run()
    });
    if let Ok(address) = address.recv() {
        Client::new(PrintReply).address(address).run()?;
    }
    server.join().expect("the server does not panic")
}
