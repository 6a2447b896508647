//! A module of functions as a service, and its typed client, which an application keeps.
//!
//! ```text
//! cargo run -p tcs-examples --features postcard --example shop
//! ```
//!
//! It prints:
//!
//! ```text
//! 7 are left
//! sold out: SoldOut { left: 7 }
//! 7 are in stock
//! ```
//!
//! Try: add an operation `restock` at the end of the module, and call it.

use std::{sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};
use tcs::{
    Channel, ConcurrentServer, client::ChannelOptions, format::Postcard, framing::Multiplexed,
    server_protocol,
};

#[derive(Debug, Deserialize, Serialize)]
struct SoldOut {
    left: u32,
}

#[server_protocol(format = Postcard, framing = Multiplexed)]
mod shop {
    use super::{Mutex, SoldOut};

    /// Takes some of the stock. Returns how many are left.
    pub fn sell(count: u32, #[state] stock: &Mutex<u32>) -> Result<u32, SoldOut> {
        let mut stock = stock.lock().expect("no panic");
        let left = stock.checked_sub(count);
        *stock = left.ok_or(SoldOut { left: *stock })?;
        Ok(*stock)
    }

    /// Returns the stock. It may be executed more than once.
    #[idempotent]
    pub async fn stock(#[state] stock: &Mutex<u32>) -> u32 {
        *stock.lock().expect("no panic")
    }
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let protocol = shop::Protocol::new(Mutex::new(10));
    let server = ConcurrentServer::new(protocol).port(0).bind().await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    let channel: Channel<Multiplexed> = ChannelOptions::new(addr)
        .deadline(Duration::from_secs(2)) // of each call, with all its retries
        .connect()
        .await?;
    let shop = shop::Client::over(channel); // cheap to clone: one for each task
    for count in [3, 9] {
        match shop.sell(count).await? {
            Ok(left) => println!("{left} are left"),
            Err(error) => println!("sold out: {error:?}"),
        }
    }
    println!("{} are in stock", shop.stock().await?);
    Ok(())
}
