use tcs::{framing::Delimited, server_protocol};

#[server_protocol(framing = Delimited<59>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
