#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies(u8)]
    pub async fn request(count: u8) -> u8 {
        count
    }
}

fn main() {}
