#[tcs::server_protocol(describe)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {
    tcs::ConcurrentServer::new(Greet);
}
