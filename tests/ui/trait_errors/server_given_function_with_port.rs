#[tcs::server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(greet).port(1234).run()
}
