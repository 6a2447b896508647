//! The shortest program with a module of operations: a server, a client, and a call.
//!
//! ```text
//! cargo run -p tcs-examples --features postcard --example world
//! ```
//!
//! It prints:
//!
//! ```text
//! Hello, Stim!
//! ```
//!
//! Try: add `pub fn count(words: Vec<String>) -> usize` to the module, and call it.

use tcs::{ConcurrentServer, format::Postcard, server_protocol};

#[server_protocol(format = Postcard)]
mod world {
    pub async fn hello(name: &str) -> String {
        format!("Hello, {name}!")
    }
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(world::Protocol)
        .port(0)
        .bind()
        .await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    let mut client = world::Client::connect(addr).await?;
    let hello = client.hello("Stim").await?;
    println!("{hello}");
    Ok(())
}
