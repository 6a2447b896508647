use tcs::{Client, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

fn main() {
    let _ = Client::new(Greet);
}
