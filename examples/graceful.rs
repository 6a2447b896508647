//! A slow function, and a server that finishes it before it ends.
//!
//! ```text
//! cargo run --example graceful
//! ```
//!
//! It listens on 127.0.0.1:1234. A request is a number of seconds, and its reply takes that long.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf '5\n' | nc -N localhost 1234
//! ```
//!
//! and press Ctrl-C in the first terminal before the reply arrives. The server accepts no more
//! connections, answers the request, prints its report, and exits. A second Ctrl-C ends it at once.

use std::time::Duration;

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
        .on_listening(|server| println!("listening on {}", server.local_addr()))
        .listen_until_signal()
        .await?;
    println!("{report}");
    Ok(())
}
