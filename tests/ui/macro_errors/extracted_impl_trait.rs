use tcs::server_protocol;

use std::fmt::Debug;

#[server_protocol]
fn greet(name: &str, peer: impl Debug) -> String {
    format!("{name} {peer:?}")
}

fn main() {}
