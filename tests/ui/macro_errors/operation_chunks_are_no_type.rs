#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[requests]
    pub async fn store(count: u8) -> u8 {
        count
    }
}

fn main() {}
