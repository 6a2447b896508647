#![allow(unused_imports)]
use tcs::{Raw, server_protocol};

#[server_protocol(framing = Raw)]
fn raw(text: &str) -> String {
    text.to_owned()
}

fn main() {}
