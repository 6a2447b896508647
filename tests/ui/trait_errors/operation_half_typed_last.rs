#[tcs::server_protocol(format = tcs::format::Json)]
pub mod bank {
    pub fn add(one: u8, two: ) -> u8 {
        one
    }
    pub fn list() {}
}

fn main() {
    let _ = async { bank::Client::connect("localhost:1").await.unwrap().list().await };
}
