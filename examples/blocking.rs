//! A client without `async`: a module of functions, called by threads that share one client.
//!
//! ```text
//! cargo run -p tcs-examples --features postcard --example blocking
//! ```
//!
//! It starts a server, calls it over one connection, and then from four threads that share a channel. It prints:
//!
//! ```text
//! 1 was counted
//! 2 was counted
//! four threads later: 6
//! ```
//!
//! Try: call it in an `async fn`. The error says what to use there.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use tcs::{
    ConcurrentServer,
    blocking::{Channel, Connection},
    client::ChannelOptions,
    format::Postcard,
    server_protocol,
};

#[server_protocol(format = Postcard)]
mod counter {
    use super::{AtomicU64, Relaxed};

    /// Adds one, and returns the sum.
    pub fn add(#[state] sum: &AtomicU64) -> u64 {
        sum.fetch_add(1, Relaxed) + 1
    }

    /// Returns the sum.
    #[idempotent]
    pub fn sum(#[state] sum: &AtomicU64) -> u64 {
        sum.load(Relaxed)
    }
}

fn main() -> tcs::Result<()> {
    let protocol = counter::Protocol::new(AtomicU64::new(0));
    let server = ConcurrentServer::new(protocol).port(0).start()?;

    // One after the other, on one connection.
    let mut client = counter::Client::over(Connection::connect(server.local_addr())?);
    println!("{} was counted", client.add()?);
    println!("{} was counted", client.add()?);

    // Many threads, on a channel that connects when it must: the first time for the first call.
    let channel = ChannelOptions::new(server.local_addr()).connect_lazily()?;
    let shared = counter::Client::over(Channel::from(channel));
    let add = || shared.add().map(drop);
    let added = thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(add));
        threads.map(|thread| thread.join().expect("it does not panic"))
    });
    added.into_iter().collect::<tcs::Result<()>>()?;
    println!("four threads later: {}", shared.sum()?);

    server.stop()?;
    Ok(())
}
