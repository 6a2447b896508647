use std::sync::RwLock;

#[tcs::server_protocol]
fn find(name: &str, all: &RwLock<Vec<String>>) -> bool {
    all.read().is_ok_and(|all| all.iter().any(|known| known == name))
}

fn main() {
    tcs::ConcurrentServer::new(Find::new(RwLock::default()));
}
