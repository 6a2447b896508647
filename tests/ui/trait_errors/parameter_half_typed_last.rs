#[tcs::server_protocol]
fn greet(name: &str, first: Vec<) -> String {
    name.to_owned()
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greet).port(1234).run()
}
