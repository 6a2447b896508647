//! A server for clients in any language: each message is a line of JSON.
//!
//! ```text
//! cargo run -p tcs-examples --features json --example json
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! python3 examples/json_client.py
//! ```
//!
//! It sends two orders, and prints the replies: `{'Ok': {'item': 'thé vert', 'cents': 500}}` and
//! `{'Err': {'SoldOut': {'left': 99}}}`. Or type `{"item":"tea","count":2}` into `nc localhost 1234`.

use serde::{Deserialize, Serialize};
use tcs::{ConcurrentServer, format::Json, framing::Lines, server_protocol};

#[derive(Deserialize)]
struct Order<'a> {
    item: &'a str, // borrowed from what arrived
    count: u32,
}

#[derive(Serialize)]
struct Receipt<'a> {
    item: &'a str,
    cents: u32,
}

#[derive(Serialize)]
enum Refused {
    SoldOut { left: u32 },
}

#[server_protocol(format = Json, framing = Lines)]
fn shop(order: Order<'_>) -> Result<Receipt<'_>, Refused> {
    let left = 99;
    if order.count > left {
        return Err(Refused::SoldOut { left });
    }
    let cents = order.count * 250;
    Ok(Receipt {
        item: order.item,
        cents,
    })
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Shop).run()
}
