//! Deadlines: that of a call, and that of a call which a protocol function makes.
//!
//! ```text
//! cargo run --example deadlines
//! ```
//!
//! A shop asks a stock that is too slow. It prints:
//!
//! ```text
//! the shop says: no answer of the stock: TimedOut
//! the client says: TimedOut
//! ```
//!
//! Try: remove `request_timeout`. The first call then takes a second, and returns 3.

use std::time::Duration;

use tcs::{Channel, ConcurrentServer, Rejection, server_protocol};
use tokio::time::sleep;

#[server_protocol]
async fn count(item: &str) -> usize {
    sleep(Duration::from_secs(1)).await;
    item.len()
}

#[server_protocol]
async fn sell(item: &str, #[state] stock: &Channel) -> Result<usize, String> {
    // This call ends before the `request_timeout` of `sell`, without a deadline of its own.
    let counted = stock.call::<Count>(item).await;
    counted.map_err(|error| format!("no answer of the stock: {:?}", error.kind()))
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Count).port(0).bind().await?;
    let stock = Channel::connect(server.local_addr()).await?;
    tokio::spawn(server.listen());

    let server = ConcurrentServer::new(Sell { stock })
        .request_timeout(Duration::from_millis(300))
        .port(0)
        .bind()
        .await?;
    let shop = Channel::connect(server.local_addr()).await?;
    tokio::spawn(server.listen());

    let error = shop.call::<Sell>("tea").await.expect_err("too slow");
    let said = error.rejection().map(Rejection::text);
    println!("the shop says: {}", said.unwrap_or_default());

    let limit = Duration::from_millis(20);
    let error = shop.deadline(limit).call::<Sell>("tea").await;
    println!("the client says: {:?}", error.expect_err("late").kind());
    Ok(())
}
