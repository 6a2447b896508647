#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8, #[contxt] _peer: &tcs::Peer) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
