#[derive(serde::Deserialize)]
pub struct Order<'a>(&'a str);

#[tcs::server_protocol(format = tcs::format::Postcard)]
pub mod bank {
    pub async fn add(_one: super::Order<'_>) {}
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
