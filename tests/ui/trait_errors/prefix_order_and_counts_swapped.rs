use tcs::{framing::{Prefixed, prefix::IncludesHeader}, server_protocol};

#[server_protocol(framing = Prefixed<u16, IncludesHeader>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
