//! A slow and a fast call beside each other, on one connection.
//!
//! ```text
//! cargo run --example multiplexed
//! ```
//!
//! The framing `Multiplexed` gives each request an id, so replies come in any order. It prints:
//!
//! ```text
//! the fast one has waited 1 ms
//! the slow one has waited 300 ms
//! the last one was cancelled
//! ```
//!
//! Try: remove `framing = Multiplexed` and `::<Multiplexed>`. The replies then come in the order of the calls, and the last
//! function is not dropped: the program waits for an hour.

use std::time::Duration;

use tcs::{Channel, ConcurrentServer, framing::Multiplexed, server_protocol};
use tokio::{sync::mpsc, time::sleep};

/// Says when a function is dropped before its end.
struct Guard<'a>(Option<&'a mpsc::Sender<()>>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(dropped) = self.0 {
            // Nobody waits for it if the program ends.
            dropped.try_send(()).ok();
        }
    }
}

#[server_protocol(framing = Multiplexed)]
async fn wait(milliseconds: u64, #[state] dropped: &mpsc::Sender<()>) -> u64 {
    let mut guard = Guard(Some(dropped));
    sleep(Duration::from_millis(milliseconds)).await;
    guard.0 = None;
    milliseconds
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let (dropped, mut is_dropped) = mpsc::channel(1);
    let server = ConcurrentServer::new(Wait { dropped })
        .port(0)
        .bind()
        .await?;
    let channel = Channel::<Multiplexed>::connect(server.local_addr()).await?;
    tokio::spawn(server.listen());

    let slow = async {
        let waited = channel.call::<Wait>(300).await?;
        println!("the slow one has waited {waited} ms");
        Ok::<_, tcs::Error>(())
    };
    let fast = async {
        let waited = channel.call::<Wait>(1).await?;
        println!("the fast one has waited {waited} ms");
        Ok(())
    };
    tokio::try_join!(slow, fast)?;

    // After this limit, the call is dropped, and the server drops the function.
    let limit = Duration::from_millis(50);
    let late = tokio::time::timeout(limit, channel.call::<Wait>(3_600_000)).await;
    assert!(late.is_err(), "an hour has not passed");
    is_dropped.recv().await;
    println!("the last one was cancelled");
    Ok(())
}
