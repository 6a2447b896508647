use tcs::{framing::Digits, server_protocol};

#[server_protocol(framing = Digits<b'0'>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
