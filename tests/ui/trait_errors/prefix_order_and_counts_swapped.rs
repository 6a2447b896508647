use tcs::{Prefixed, prefix::Whole, server_protocol};

#[server_protocol(framing = Prefixed<u16, Whole>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
