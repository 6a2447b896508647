//! A server whose function never returns: `stubborn wait` waits, `stubborn block` blocks its thread.

use std::{env, future::pending, thread};

use tcs::{ConcurrentServer, protocol::ServerProtocol, server_protocol};

#[server_protocol]
async fn wait(request: &str) -> String {
    println!("got {request}");
    pending().await
}

#[server_protocol(blocking)]
fn block(request: &str) -> String {
    println!("got {request}");
    loop {
        thread::park();
    }
}

fn main() -> tcs::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("block") => serve(Block),
        _ => serve(Wait),
    }
}

fn serve<P: ServerProtocol>(protocol: P) -> tcs::Result<()> {
    ConcurrentServer::new(protocol)
        .port(0)
        .on_listening(|server| println!("{}", server.local_addr()))
        .run()
}
