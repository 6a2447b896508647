use tcs::{framing::{Prefixed, prefix::LittleEndian}, server_protocol};

#[server_protocol(framing = Prefixed<u16, LittleEndian, u16>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
