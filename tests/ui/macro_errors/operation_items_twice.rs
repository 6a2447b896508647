#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies(u8)]
    #[replies(u16)]
    pub async fn rows(count: u8) -> u8 {
        count
    }
}

fn main() {}
