#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8, #[session] _sum: &mut u8) {}
    pub fn list(#[session] _sum: &u16) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
