//! A server with TLS, and a certificate that it makes for itself, for development.
//!
//! ```text
//! cargo run -p tcs-examples --features tls --example tls
//! ```
//!
//! It listens on 127.0.0.1:1234 until you press Ctrl-C. The first run writes `cert.pem` and `key.pem` to the folder
//! that it prints.
//!
//! Try: in a second terminal, in that folder, run
//!
//! ```text
//! printf 'Ann\n' | socat -t 5 - OPENSSL:localhost:1234,cafile=cert.pem
//! ```
//!
//! It prints `Hello, Ann!`. Without `,cafile=cert.pem`, the client does not trust the server.

use std::{env, fs};

use tcs::{
    ConcurrentServer,
    framing::Lines,
    server_protocol,
    transport::{Tls, create_self_signed},
};

#[server_protocol(framing = Lines)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production, delete the next three lines, and give the paths of your certificate.
    let folder = env::temp_dir().join("tcs-example-tls");
    fs::create_dir_all(&folder)?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    create_self_signed(&cert, &key)?;

    println!("{}", folder.display());
    ConcurrentServer::new(Greet)
        .tls(Tls::from_pem(&cert, &key)?)
        .run()?;
    Ok(())
}
