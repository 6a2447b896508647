//! A server that a test stops and starts again: `restarted ADDRESS FILE`.
//!
//! It appends each request to the file before it replies, so that the file tells what was executed, however this process
//! ends.

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    time::Duration,
};

use tcs::{ConcurrentServer, server_protocol};

/// The replies to requests that end like this take a moment, so that the server is often ended between the two.
const SLOW: &str = "00";

#[server_protocol]
async fn execute(#[state] mut log: &File, request: &str) -> String {
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
    let [address, path] = &arguments[..] else {
        return Err(io::Error::other("an address and a file").into());
    };
    let log = File::options().append(true).create(true).open(path)?;
    ConcurrentServer::new(Execute { log })
        .address(address.as_str())
        .on_listening(|_| println!("listening"))
        .run()?;
    Ok(())
}
