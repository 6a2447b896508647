//! A server with an existing codec of `tokio_util`: it adds numbers between commas, semicolons or line ends.
//!
//! Run it from the root of the repository:
//!
//! ```text
//! cargo run -p codec
//! ```
//!
//! It prints the address that it listens on, and exits on Ctrl-C. To choose another address:
//! `cargo run -p codec -- 0.0.0.0:7000`.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf '1+2;3+4+5\n6+x,7\n' | nc -N localhost 1234
//! ```
//!
//! It prints `3,12,no number: x,7,`.
//!
//! It is a separate package, because the other examples need neither `tokio_util` nor the feature `codec`
//! of `tcs`.

use std::env;

use bytes::Bytes;
use tcs::{ConcurrentServer, Rejection, framing::Codec, server_protocol};
use tokio_util::codec::AnyDelimiterCodec;

/// A request is an item of the codec, `Bytes`, and a reply is text.
type Sums = Codec<AnyDelimiterCodec>;

#[server_protocol(framing = Sums, format = Sums, reject_with = in_words)]
fn add(sum: Bytes) -> Result<String, String> {
    let mut total: i64 = 0;
    for term in sum.split(|byte| *byte == b'+') {
        let text = String::from_utf8_lossy(term);
        let number: i64 = text
            .trim()
            .parse()
            .map_err(|_| format!("no number: {text}"))?;
        total = total.checked_add(number).ok_or("too much")?;
    }
    Ok(total.to_string())
}

/// Formats a rejection as a message, because the codec has no frame for it.
fn in_words(rejection: &Rejection) -> &str {
    rejection.text()
}

fn main() -> tcs::Result<()> {
    let address = env::args().nth(1);
    ConcurrentServer::new(Add)
        .address(address.unwrap_or_else(|| "127.0.0.1:1234".to_owned()))
        .on_listening(|server| println!("listening on {}", server.local_addr()))
        .run()
}
