#[tcs::server_protocol(format = tcs::format::Json, describe = "a bank")]
mod bank {
    pub fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
