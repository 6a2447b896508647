use tcs::server_protocol;

#[server_protocol]
fn now() -> u64 {
    0
}

fn main() {
    let _ = (tcs::OnceServer::new(Now), now());
}
