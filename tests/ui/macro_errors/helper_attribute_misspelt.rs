use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[sate] more: &u8) -> u8 {
    number + more
}

fn main() {
    let _ = (tcs::OnceServer::new(Add { more: 1 }), add(1, &2));
}
