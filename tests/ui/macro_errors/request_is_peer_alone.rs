#[tcs::server_protocol]
fn address(peer: &tcs::Peer) -> String {
    peer.to_string()
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Address).port(1234).run()
}
