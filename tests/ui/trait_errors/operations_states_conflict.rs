#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8, #[state] _log: &str) {}
    pub fn list(#[state] _log: &u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol::new(String::new()));
}
