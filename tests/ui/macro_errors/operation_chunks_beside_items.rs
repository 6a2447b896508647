#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies(u8)]
    #[requests(u16)]
    pub async fn rows(count: u8) -> u8 {
        count
    }
}

fn main() {}
