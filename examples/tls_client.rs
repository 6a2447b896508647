//! The client of the example `tls`, which trusts its certificate and no other.
//!
//! ```text
//! cargo run -p tcs-examples --features tls --example tls_client
//! ```
//!
//! With `cargo run -p tcs-examples --features tls --example tls` in another terminal, it prints:
//!
//! ```text
//! Response: Hello, Ann!
//! ```
//!
//! Try: replace `ClientTls::pinned(cert)` by `ClientTls::new()`, which trusts the roots of the operating system. The
//! error says what is wrong with the certificate.

use std::env;

use tcs::{Client, client::ConnectOptions, client_protocol, framing::Lines, transport::ClientTls};

#[client_protocol(request = "Ann", framing = Lines)]
fn print_reply(reply: &str) {
    println!("Response: {reply}");
}

fn main() -> tcs::Result<()> {
    let cert = env::temp_dir().join("tcs-example-tls/cert.pem");
    let options = ConnectOptions::new().tls(ClientTls::pinned(cert)?);
    Client::new(PrintReply)
        .address("tls://localhost")
        .options(options)
        .run()
}
