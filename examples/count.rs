//! State, a session, errors and the peer's address; a server and its client in one process.
//!
//! ```text
//! cargo run --example count
//! ```
//!
//! It prints the error that the client receives when it asks for too much.
//!
//! Try: raise the limit, or return another type than a number.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tcs::{ConcurrentServer, Connection, Peer, server_protocol};

struct Counter(AtomicU64);

#[server_protocol]
async fn count(
    step: u64,                  // the request: the first parameter without an attribute
    #[state] counter: &Counter, // shared by all connections
    #[session] mine: &mut u64,  // kept by one connection
    peer: &Peer,                // taken from the connection
) -> Result<u64, String> {
    if step > 10 {
        return Err(format!("{peer} asked for {step}, and 10 is the most"));
    }
    *mine += step;
    Ok(counter.0.fetch_add(step, Relaxed) + step)
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Count {
        counter: Counter(AtomicU64::new(0)),
    })
    .port(0)
    .bind()
    .await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    let mut connection = Connection::connect(addr).await?;
    assert_eq!(connection.call::<Count>(3).await?, 3);
    let error = connection.call::<Count>(11).await.expect_err("too much");
    println!("{error:?}");
    Ok(())
}
