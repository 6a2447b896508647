#![deny(unused_must_use)]

use tcs::{OnceServer, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

fn main() {
    OnceServer::new(Greet).run();
}
