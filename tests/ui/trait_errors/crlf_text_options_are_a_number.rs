use tcs::{framing::CrlfText, server_protocol};

#[server_protocol(framing = CrlfText<7>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
