use tcs::{framing::LengthField, server_protocol};

#[server_protocol(framing = LengthField<2>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
