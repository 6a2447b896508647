#[tcs::server_protocol(format = tcs::format::Json, concurrent = 8)]
mod bank {
    #[requests(u8)]
    pub async fn store(count: u8) -> u8 {
        count
    }
}

fn main() {}
