use tcs::Peer;

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    pub fn add(_one: u8, _peer: &Peer) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
