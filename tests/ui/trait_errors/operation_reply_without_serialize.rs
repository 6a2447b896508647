pub struct Receipt;

#[tcs::server_protocol(format = tcs::format::Postcard)]
pub mod bank {
    use super::*;
    pub fn add(_one: u8) -> Receipt { Receipt }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
