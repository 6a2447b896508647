//! A file that is sent in pieces, with a progress line at the client.
//!
//! ```text
//! cargo run --example upload -- Cargo.toml
//! ```
//!
//! It starts a server and a client in one process, and prints, over each other, how much is sent, and then the reply:
//!
//! ```text
//! 312 of 312 bytes
//! Cargo.toml is stored: 312 bytes
//! ```
//!
//! Neither end has the whole file in memory. If the client is stopped, the function gets an error instead of the end, so a
//! part is never taken for the file.

use std::{
    env,
    error::Error,
    fs::File,
    io::{Read as _, Write as _},
};

use tcs::{ConcurrentServer, Connection, protocol::Requests, server_protocol};

/// The bytes in a piece.
const PIECE: usize = 16 * 1024;

/// Takes a file, of at most a gigabyte. It would write each piece to a file of its own.
#[server_protocol(requests = &[u8])]
async fn store(name: &str, mut pieces: Requests<'_, Store>) -> Result<String, String> {
    let mut length = 0;
    while let Some(piece) = pieces.next().await? {
        length += piece.len();
        if length > 1 << 30 {
            return Err(format!("{name} is too large"));
        }
    }
    Ok(format!("{name} is stored: {length} bytes"))
}

async fn send_file(connection: &mut Connection, path: &str) -> Result<(), Box<dyn Error>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut upload = connection.upload::<Store>(path).await?;
    let (mut piece, mut sent) = (vec![0; PIECE], 0);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 || upload.is_answered() {
            break;
        }
        upload.send(&piece[..count]).await?;
        sent += count;
        print!("\r{sent} of {length} bytes");
        // If the terminal is gone, nobody sees the line.
        std::io::stdout().flush().ok();
    }
    println!("\n{}", upload.finish().await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("name a file")?;
    let server = ConcurrentServer::new(Store).port(0).bind().await?;
    let (addr, handle) = (server.local_addr(), server.handle());
    let server = tokio::spawn(server.listen());
    let mut connection = Connection::connect(addr).await?;
    send_file(&mut connection, &path).await?;
    drop(connection);
    handle.stop();
    server.await?.map(drop)?;
    Ok(())
}
