//! The log as JSON, an object for each line, for programs that collect logs.
//!
//! ```text
//! cargo run -p tcs-examples --features logs --example json_logs
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf '4\n0\n' | nc -N localhost 1234
//! ```
//!
//! The reply is `25`. The second request panics, and its connection closes. The log has each connection with its peer, the
//! reason of its end, its requests, its bytes and its time. The documentation of `tcs` lists the events and their fields.

use std::panic;

use tcs::{ConcurrentServer, framing::Lines, server_protocol};
use tracing::Level;

#[server_protocol(framing = Lines)]
fn divide(divisor: u32) -> u32 {
    100 / divisor
}

fn main() -> tcs::Result<()> {
    // `DEBUG` has each connection; `INFO` is enough to see what goes wrong.
    tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::DEBUG)
        .init();
    // The default hook would write lines that are not JSON. The text of the panic is in the next line, which `tcs` logs.
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "panic");
    }));
    ConcurrentServer::new(Divide).run()
}
