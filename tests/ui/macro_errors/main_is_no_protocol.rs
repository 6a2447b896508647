#[tcs::server_protocol]
fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greet).port(1234).run()
}

#[tcs::server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}
