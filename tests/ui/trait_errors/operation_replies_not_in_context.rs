#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies(u8)]
    pub async fn rows(count: u8, _out: tcs::protocol::Replies<'_, Rows>) -> u8 {
        count
    }
}

fn main() {}
