//! A server that a test stops and starts again: `restarted ADDRESS FILE FRAMING`.
//!
//! It appends each request to the file before it replies, so that the file tells what was executed, however this process
//! ends.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    time::Duration,
};

use tcs::{ConcurrentServer, framing::Multiplexed, protocol::ServerProtocol, server_protocol};

/// The replies to requests that end like this take a moment, so that the server is often ended between the two.
const SLOW: &str = "00";

#[server_protocol]
async fn execute(#[state] log: &File, request: &str) -> String {
    note(log, request).await
}

#[server_protocol(framing = Multiplexed)]
async fn execute_with_id(#[state] log: &File, request: &str) -> String {
    note(log, request).await
}

async fn note(mut log: &File, request: &str) -> String {
    // One write, which the operating system appends as a whole.
    log.write_all(format!("{request}\n").as_bytes())
        .expect("a disk that is not full");
    if request.ends_with(SLOW) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    request.to_owned()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, path, framing] = &arguments[..] else {
        return Err(io::Error::other("an address, a file and a framing").into());
    };
    let log = File::options().append(true).create(true).open(path)?;
    if framing.ends_with("Multiplexed") {
        run(ExecuteWithId { log }, address)
    } else {
        run(Execute { log }, address)
    }
}

fn run(protocol: impl ServerProtocol, address: &str) -> Result<(), Box<dyn std::error::Error>> {
    ConcurrentServer::new(protocol)
        .address(address)
        .on_listening(|_| println!("listening"))
        .run()?;
    Ok(())
}
