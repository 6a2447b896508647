use tcs::{protocol::Replies, server_protocol};

#[server_protocol(replies = u32)]
async fn count(to: u32, mut out: Replies<'_, Count>) -> u32 {
    tokio::spawn(async move { out.send(to).await.is_ok() });
    to
}

fn main() {}
