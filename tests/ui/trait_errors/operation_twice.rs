#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8) {}
    pub fn add(_one: u8, _two: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
