#[tcs::server_protocol]
fn greet(name: &str, #[state] greeting: Option<&str>) -> String {
    [greeting.unwrap_or_default(), name].concat()
}

fn main() {
    tcs::ConcurrentServer::new(Greet::new(None));
}
