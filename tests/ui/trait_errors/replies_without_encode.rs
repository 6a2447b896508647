use tcs::{protocol::Replies, server_protocol};

struct Row;

#[server_protocol(replies = Row)]
async fn rows(_: (), mut out: Replies<'_, Rows>) -> bool {
    out.send(Row).await.is_ok()
}

fn main() {}
