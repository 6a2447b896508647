use tcs::{protocol::Draining, server_protocol};

#[server_protocol]
fn greet(_draining: Draining<'_>, name: &str) -> String {
    name.to_owned()
}

fn main() {}
