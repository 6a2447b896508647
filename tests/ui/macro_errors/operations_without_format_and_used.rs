#[tcs::server_protocol]
pub mod bank {
    pub fn add(one: u8) -> u8 {
        one + 1
    }
}

fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
    let _ = async { bank::Client::connect("localhost:1").await.unwrap().add(1).await };
}
