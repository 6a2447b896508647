use tcs::{protocol::Replies, server_protocol};

#[server_protocol(replies)]
async fn count(to: u32, _out: Replies<'_, Count>) -> u32 {
    to
}

fn main() {}
