//! A server on its stdin and stdout, as under inetd.

use tcs::{ConcurrentServer, server_protocol, transport::StdioListener};

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet)
        .listener(StdioListener::new())
        .run()
}
