//! A slow function, and a server that finishes it before it ends.
//!
//! ```text
//! cargo run --example graceful
//! ```
//!
//! It listens on 127.0.0.1:1234. A request is a number of seconds: so long is worked on it.
//!
//! Try, in a second terminal:
//!
//! ```text
//! printf '5\n' | nc -N localhost 1234
//! ```
//!
//! and press Ctrl-C in the first one before the reply is there. The server takes no new connection,
//! answers the request nevertheless, and prints its report: what it received and what became of it. A
//! second Ctrl-C ends it at once.

use std::{net::SocketAddr, time::Duration};

use tcs::{ConcurrentServer, framing::Lines, server_protocol};

#[server_protocol(framing = Lines)]
async fn work(seconds: u16) -> String {
    println!("working for {seconds} s");
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    format!("worked for {seconds} s")
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let report = ConcurrentServer::new(Work)
        .drain_timeout(Duration::from_mins(1))
        .on_listening(|address: SocketAddr| println!("listening on {address}"))
        .listen_until_signal()
        .await?;
    println!("{report}");
    Ok(())
}
