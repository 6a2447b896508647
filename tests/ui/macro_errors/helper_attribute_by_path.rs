#[tcs::server_protocol]
fn greet(name: &str, #[tcs::state] greeting: &str) -> String {
    format!("{greeting}, {name}!")
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greet::new("Hello".into())).port(1234).run()
}
