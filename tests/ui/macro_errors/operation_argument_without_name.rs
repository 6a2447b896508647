#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add((_one, _two): (u8, u8)) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
