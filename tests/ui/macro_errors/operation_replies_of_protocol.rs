#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Replies;
    #[replies(u8)]
    pub async fn rows(count: u8, #[context] _out: Replies<'_, Protocol>) -> u8 {
        count
    }
}

fn main() {}
