use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[session] sum: u8) -> u8 {
    number + sum
}

fn main() {
    let _ = (tcs::OnceServer::new(Add), add(1, 2));
}
