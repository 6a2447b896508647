#[tcs::server_protocol(format = tcs::format::Json)]
mod log {
    use tcs::protocol::Replies;
    #[replies = "u8"]
    pub async fn tail(mut out: Replies<'_, Tail>) -> bool {
        out.send(1).await.is_ok()
    }
}

fn main() {}
