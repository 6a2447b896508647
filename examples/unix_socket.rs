//! A server on a Unix socket: `serve_stream` serves a connection over any stream.
//!
//! ```text
//! cargo run --example unix_socket
//! ```
//!
//! A server and two clients in one process. It prints:
//!
//! ```text
//! Hello, Ann! You are number 1.
//! Hello, Bob! You are number 2.
//! ```
//!
//! Try: serve streams of `tokio::io::duplex` instead, as a test without a socket does.

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use tcs::Connection;
    use tokio::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("tcs-{}.socket", std::process::id()));
    let server = tokio::spawn(unix::serve(UnixListener::bind(&path)?));

    for name in ["Ann", "Bob"] {
        let mut connection = Connection::over(UnixStream::connect(&path).await?);
        println!("{}", connection.call::<unix::Greet>(name).await?);
    }

    server.abort();
    std::fs::remove_file(&path)?;
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::Relaxed},
        },
    };

    use tcs::{ConcurrentServer, Peer, server_protocol};
    use tokio::{net::UnixListener, sync::Semaphore};

    #[server_protocol]
    pub(super) fn greet(name: &str, #[state] count: &AtomicU64) -> String {
        let number = count.fetch_add(1, Relaxed) + 1;
        format!("Hello, {name}! You are number {number}.")
    }

    /// Accepts connections, and serves each in a task.
    pub(super) async fn serve(listener: UnixListener) -> io::Result<()> {
        // An `Arc` of a protocol is a protocol: all connections share its states.
        let protocol = Arc::new(Greet::new(AtomicU64::new(0)));
        // `max_connections` is a setting of the accept loop of `tcs`, so this loop has its own limit.
        let permits = Arc::new(Semaphore::new(100));
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
            let (stream, _) = listener.accept().await?;
            let server = ConcurrentServer::new(Arc::clone(&protocol));
            tokio::spawn(async move {
                let report = server.serve_stream(stream, Peer::unnamed()).await;
                drop(permit);
                report
            });
        }
        Ok(())
    }
}

#[cfg(not(unix))]
fn main() {
    println!("This system has no Unix sockets.");
}
