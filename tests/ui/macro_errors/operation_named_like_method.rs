#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn connect(_name: &str) {}
    pub fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
