use tcs::{protocol::Replies, server_protocol};

#[server_protocol(replies = u32)]
async fn count(_: (), #[state] sum: &std::sync::Mutex<u32>, mut out: Replies<'_, Count>) {
    let sum = sum.lock().unwrap();
    out.send(*sum).await.unwrap();
}

fn main() {}
