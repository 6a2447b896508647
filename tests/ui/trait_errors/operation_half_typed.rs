#[tcs::server_protocol(format = tcs::format::Json)]
pub mod bank {
    pub fn add(one: , two: u8) -> u8 {
        two
    }
    pub fn list() {}
}

fn main() {
    let _ = async { bank::Client::connect("localhost:1").await.unwrap().list().await };
}
