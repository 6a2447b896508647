use tcs::{framing::Prefixed, server_protocol};

#[server_protocol(framing = Prefixed<2, 4>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
