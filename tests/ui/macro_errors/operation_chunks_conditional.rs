#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[cfg_attr(unix, requests(u8))]
    pub async fn store(count: u8) -> u8 {
        count
    }
}

fn main() {}
