use tcs::{protocol::Replies, server_protocol};

#[server_protocol(replies = u32)]
async fn count(to: u32, _out: Replies<'_, u32>) -> u32 {
    to
}

fn main() {}
