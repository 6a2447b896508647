use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[cfg_attr(all(), state)] greeting: &str) -> String {
    format!("{greeting}, {name}")
}

fn main() {
    tcs::ConcurrentServer::new(Greet::new("Hello".to_owned()));
}
