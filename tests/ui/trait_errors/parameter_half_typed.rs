use tcs::server_protocol;

#[server_protocol]
fn greet(name: &str, #[state] first: , #[state] second: &u8) -> String {
    format!("{name} {second}")
}

fn main() {
    tcs::ConcurrentServer::new(Greet { second: 1 });
}
