use tcs::{framing::Fixed, server_protocol};

#[server_protocol(framing = Fixed)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
