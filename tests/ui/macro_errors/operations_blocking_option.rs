#[tcs::server_protocol(format = tcs::Json, blocking)]
mod bank {
    pub fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
