#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[idempotent(true)]
    pub fn add(_one: u8) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
