#[tcs::server_protocol(format = tcs::format::Json, replies = u8)]
mod bank {
    pub async fn rows(count: u8) -> u8 {
        count
    }
}

fn main() {}
