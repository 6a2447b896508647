#[tcs::server_protocol(format = tcs::format::Json, describe)]
mod bank {
    pub fn add(_one: u8) {}
    pub fn describe() {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
