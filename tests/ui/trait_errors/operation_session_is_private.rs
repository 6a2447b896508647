#[derive(Default)]
struct Login;

#[tcs::server_protocol(format = tcs::format::Json)]
pub mod bank {
    use super::*;
    pub fn add(#[session] _login: &mut Login) {}
}
fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
