use tcs::format::Json;

#[tcs::server_protocol(format = Json)]
mod names {
    pub fn add(name: String, all: &std::sync::Mutex<Vec<String>>) -> bool {
        all.lock().is_ok_and(|mut all| all.insert(0, name) == ())
    }
}

fn main() {
    tcs::ConcurrentServer::new(names::Protocol::new(Default::default()));
}
