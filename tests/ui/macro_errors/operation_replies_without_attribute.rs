#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Replies;
    pub async fn rows(count: u8, #[context] _out: Replies<'_, Rows>) -> u8 {
        count
    }
}

fn main() {}
