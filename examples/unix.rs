//! A server on a Unix socket, which knows the user of its peer.
//!
//! ```text
//! cargo run --example unix
//! ```
//!
//! It prints the path of the socket, and serves until you press Ctrl-C. Then it removes the file.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! printf 'Ann\n' | nc -NU PATH
//! ```
//!
//! It prints `Hello, Ann! You are user 1000.`, with the number that `id -u` prints. No other user can connect,
//! because the file has the permissions `0o600`.

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use tcs::{ConcurrentServer, framing::Lines, server_protocol, transport::UnixSocketListener};
    use tokio::net::unix::UCred;

    #[server_protocol(framing = Lines)]
    fn greet(name: &str, user: UCred) -> String {
        format!("Hello, {name}! You are user {}.", user.uid())
    }

    let path = std::env::temp_dir().join("tcs-example.sock");
    let socket = UnixSocketListener::bind(&path, 0o600)?;
    println!("{}", path.display());
    let server = ConcurrentServer::new(Greet).listener(socket);
    server.listen_until_signal().await?;
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("This system has no Unix sockets.");
}
