use tcs::{protocol::Requests, server_protocol};

#[server_protocol(concurrent = 16, unordered, requests = &'_ str)]
async fn count(_: (), mut more: Requests<'_, Count>) -> String {
    drop(more.next().await);
    String::new()
}

fn main() {}
