use tcs::{OnceServer, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

fn main() {
    let _ = OnceServer::new(Greet).max_connections(5);
}
