use tcs::{protocol::Replies, server_protocol};

#[server_protocol]
async fn count(to: u32, mut out: Replies<'_, Count>) -> Result<u32, String> {
    out.send(to).await?;
    Ok(to)
}

fn main() {}
