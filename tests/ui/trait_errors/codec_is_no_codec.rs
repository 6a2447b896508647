use tcs::{framing::{Codec, Lines}, server_protocol};

#[server_protocol(framing = Codec<Lines>, format = Codec<Lines>)]
fn greet(name: String) -> String {
    name
}

fn main() {}
