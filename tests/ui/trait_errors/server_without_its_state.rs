use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(_: &str, #[state] _count: &u32) {}

fn main() {
    let _ = ConcurrentServer::new(Greet);
}
