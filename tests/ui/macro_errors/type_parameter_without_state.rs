use tcs::server_protocol;

#[server_protocol]
fn show<T: ToString>(number: u32) -> String {
    number.to_string()
}

fn main() {
    let _ = (tcs::OnceServer::new(Show), show::<u8>(2));
}
