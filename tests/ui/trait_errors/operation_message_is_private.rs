#[derive(serde::Deserialize, serde::Serialize)]
struct Order;

#[tcs::server_protocol(format = tcs::format::Json)]
pub mod bank {
    pub fn add(_order: super::Order) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
