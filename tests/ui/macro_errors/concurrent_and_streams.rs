use tcs::{
    protocol::Replies,
    server_protocol,
};

#[server_protocol(concurrent = 16, unordered, replies = &'_ str, requests = &'_ str)]
async fn count(_: (), mut out: Replies<'_, Count>) -> String {
    out.send("1").await.expect("it fits");
    String::new()
}

fn main() {}
