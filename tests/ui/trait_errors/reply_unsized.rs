#[tcs::server_protocol]
fn greet(_name: &str) -> str {
    unimplemented!()
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greet).port(1234).run()
}
