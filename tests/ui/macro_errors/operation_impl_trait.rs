#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: impl Into<u8>) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
