//! A reply that is streamed, with a progress bar at the client.
//!
//! ```text
//! cargo run --example progress
//! ```
//!
//! It starts a server and a client in one process, and prints, step by step:
//!
//! ```text
//! printing report.pdf; Ctrl-C cancels
//! [##########] 100 %
//! report.pdf has 10 pages
//! ```
//!
//! Ctrl-C cancels: the client drops its connection, and so the server drops the function, which then prints:
//!
//! ```text
//! cancelled
//! ```

use std::{io::Write as _, time::Duration};

use tcs::{ConcurrentServer, Connection, protocol::Replies, server_protocol};
use tokio::time::sleep;

/// Says when a function is dropped before its end.
struct Guard {
    is_done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_done {
            println!("cancelled");
        }
    }
}

/// Prints a file. Its items are the percentages that are done.
#[server_protocol(replies = u8)]
async fn print(file: &str, mut out: Replies<'_, Print>) -> Result<String, String> {
    let mut guard = Guard { is_done: false };
    println!("printing {file}; Ctrl-C cancels");
    for page in 1..=10 {
        sleep(Duration::from_millis(200)).await;
        out.send(page * 10).await?;
    }
    guard.is_done = true;
    Ok(format!("{file} has 10 pages"))
}

async fn show_progress(connection: &mut Connection) -> tcs::Result<()> {
    let mut progress = connection.stream::<Print>("report.pdf").await?;
    while let Some(percent) = progress.next().await? {
        let done = usize::from(percent / 10);
        print!("\r[{:-<10}] {percent:3} %", "#".repeat(done));
        // If the terminal is gone, nobody sees the bar.
        std::io::stdout().flush().ok();
    }
    println!("\n{}", progress.finish().await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let server = ConcurrentServer::new(Print).port(0).bind().await?;
    let (addr, handle) = (server.local_addr(), server.handle());
    let server = tokio::spawn(server.listen());
    let mut connection = Connection::connect(addr).await?;
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => println!(),
        result = show_progress(&mut connection) => result?,
    }
    drop(connection);
    handle.stop();
    // The server ends when the function is dropped.
    server.await.expect("the server does not panic").map(drop)
}
