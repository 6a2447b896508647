use tcs::{OnceServer, server_protocol};

#[server_protocol]
fn greet(_: &str) {}

pub async fn serve() -> tcs::Result<()> {
    OnceServer::new(Greet).run().await
}

fn main() {}
