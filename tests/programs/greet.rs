//! The program that `docs/deploy.md` runs under systemd.

use tcs::{ConcurrentServer, server_protocol, transport};

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let mut server = ConcurrentServer::new(Greet).notify_systemd();
    for socket in transport::systemd_sockets()? {
        server = server.listener(socket);
    }
    server.listen_until_signal().await?;
    Ok(())
}
