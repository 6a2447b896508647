use tcs::{protocol::Requests, server_protocol};

#[server_protocol]
async fn upload(_: &str, mut more: Requests<'_, Upload>) -> Result<bool, String> {
    Ok(more.next().await?.is_some())
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Upload).port(1234).run()
}
