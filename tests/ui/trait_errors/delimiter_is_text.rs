use tcs::{framing::{Delimited, delimiter}, server_protocol};

#[server_protocol(framing = Delimited<{ delimiter(";") }>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
