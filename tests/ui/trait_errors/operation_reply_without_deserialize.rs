#[derive(serde::Serialize)]
pub struct Receipt;

#[tcs::server_protocol(format = tcs::format::Postcard)]
pub mod bank {
    use super::*;
    pub async fn add(_one: u8) -> Result<Receipt, String> { Ok(Receipt) }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
