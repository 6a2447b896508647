#![deny(unused_must_use)]

use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

fn main() {
    ConcurrentServer::new(Greet).listen();
}
