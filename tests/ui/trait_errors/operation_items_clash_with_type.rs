#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub struct Rows;
    #[replies(u8)]
    pub async fn rows(count: u8) -> u8 {
        count
    }
}

fn main() {}
