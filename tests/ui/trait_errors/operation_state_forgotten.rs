pub struct Accounts;

#[tcs::server_protocol(format = tcs::format::Json)]
pub mod bank {
    use super::*;
    pub async fn add(_one: u8, _accounts: &Accounts) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
