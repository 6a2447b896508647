use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[shared] other: &u8) -> String {
    format!("{name} {other}")
}

fn main() {
    tcs::ConcurrentServer::new(Greet { other: 1 });
    tcs::ConcurrentServer::new(Greet::new(1));
}
