use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

fn main() {
    let _ = ConcurrentServer::new(greet);
}
