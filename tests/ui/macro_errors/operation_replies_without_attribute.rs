#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::protocol::Replies;
    pub async fn rows(count: u8, #[context] mut out: Replies<'_, Rows>) -> bool {
        out.send(count).await.is_ok()
    }
}

fn main() {}
