//! The example `codec` does what its header says.
//!
//! This is a test of the package `codec`, so that cargo builds the program before it.

use std::net::SocketAddr;

use tcs_tests::process::{Process, ask, connect};

#[tokio::test]
async fn codec_adds_up_and_says_what_it_cannot_add() {
    let mut server = Process::start(env!("CARGO_BIN_EXE_codec"), ["127.0.0.1:0"]);
    let line = server.line().await;
    let address = line.strip_prefix("listening on ").expect("an address");
    let address: SocketAddr = address.parse().expect("an address");
    let replies = ask(connect(address).await, "1+2;3+4+5\n6+x,7\n").await;
    assert_eq!(replies, "3,12,no number: x,7,");
    server.interrupt().await;
    assert_eq!(server.finished().await.succeeded(), [""; 0]);
}
