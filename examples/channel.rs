//! A client that an application keeps: tasks share it, and it survives a restart of the server.
//!
//! ```text
//! cargo run --example channel
//! ```
//!
//! With `cargo run --example greet_server` in another terminal, it prints:
//!
//! ```text
//! Hello, Ann!
//! Hello, Bob!
//! ```
//!
//! Try: ask once per second for a minute, and restart the server meanwhile.

use tcs::{Channel, client_protocol};

#[client_protocol(request = |name: &str| name.to_owned())]
fn greeting(reply: String) -> String {
    reply
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let channel = Channel::connect("127.0.0.1:1234").await?;
    for name in ["Ann", "Bob"] {
        println!("{}", channel.exchange(Greeting::new(name)).await?);
    }
    Ok(())
}
