#![allow(unused_imports)]
use tcs::{framing::Raw, server_protocol};

#[server_protocol(framing = Raw)]
fn raw(text: &str) -> String {
    text.to_owned()
}

fn main() {}
