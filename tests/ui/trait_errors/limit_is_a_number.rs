use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {
    drop(ConcurrentServer::new(Greet).idle_timeout(5));
}
