use tcs::{ConcurrentServer, server_protocol};

#[server_protocol]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet::new()).port(0).run()
}
