#[tcs::server_protocol(Bank, format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
