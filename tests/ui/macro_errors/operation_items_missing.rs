#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies]
    pub async fn rows(count: u8) -> u8 {
        count
    }
}

fn main() {}
