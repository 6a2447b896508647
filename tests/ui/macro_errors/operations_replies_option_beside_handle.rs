#[tcs::server_protocol(format = tcs::format::Json, replies = u8)]
mod list {
    use tcs::protocol::Replies;
    pub async fn rows(mut out: Replies<'_, Rows>) -> bool {
        out.send(1).await.is_ok()
    }
}

fn main() {}
