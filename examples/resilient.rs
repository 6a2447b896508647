//! A client that lasts: its server is stopped gracefully and starts again, and no call fails. Calls in flight at a server
//! that is killed would fail, unless they are idempotent and within the budget of retries: 100 at first.
//!
//! ```text
//! cargo run --example resilient
//! ```
//!
//! Eight tasks call over one channel. The program stops its server, starts it again after a second, and prints in each
//! second how many calls were answered. It ends after two restarts. It prints, with other numbers:
//!
//! ```text
//! connected
//! answered in a second: 443
//! the server stops
//! lost
//! answered in a second: 0
//! the server starts
//! connected
//! answered in a second: 431
//! ```
//!
//! and at the end
//!
//! ```text
//! connections: 3, failed calls: 0
//! ```
//!
//! A call takes about 2 ms, and one connection has one call at a time at the server. So a second has about 450.
//!
//! Calls that are made while there is no server wait for it, for at most the `reply_timeout` of 30 s. The channel tries to
//! connect again after random waits of at most 100 ms. With the default, they grow to 10 s, which is better for a server
//! with many clients. A server that stops answers the requests that it has begun, and rejects the others with *going
//! away*: the channel sends those to the next server. A server that crashes cannot say which requests it has executed. Then
//! a call fails, unless it is made with `channel.idempotent()` and the budget has a retry left. If it has none, the error
//! says so, and `ChannelState::retries_refused` counts it.
//!
//! Try: set `DOWN` to 40 s. Calls then fail after 30 s, and the error says why there is no connection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer,
    client::{ChannelOptions, ChannelState},
    server::{Report, ServerHandle},
    server_protocol,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

const CALLERS: usize = 8;
const RESTARTS: usize = 2;
const UP: Duration = Duration::from_secs(1);
const DOWN: Duration = Duration::from_secs(1);
/// The first and the longest wait before another attempt to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

#[server_protocol]
async fn double(n: u32) -> u64 {
    sleep(Duration::from_millis(1)).await;
    u64::from(n) * 2
}

/// A server that runs in a task.
struct Server {
    addr: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

impl Server {
    async fn start(addr: SocketAddr) -> tcs::Result<Self> {
        let server = ConcurrentServer::new(Double).address(addr);
        let server = server.bind().await?;
        Ok(Self {
            addr: server.local_addr(),
            handle: server.handle(),
            task: tokio::spawn(server.listen()),
        })
    }

    /// Stops the server, and waits until it has answered what it has begun.
    async fn stop(self) -> tcs::Result<()> {
        self.handle.stop();
        self.task.await.expect("no panic")?;
        Ok(())
    }
}

/// What became of the calls.
#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Waits, and prints what was answered meanwhile.
    async fn print_after(&self, time: Duration) {
        self.answered.store(0, Relaxed);
        sleep(time).await;
        println!("answered in a second: {}", self.answered.load(Relaxed));
    }
}

async fn call_repeatedly(channel: Channel, counts: Arc<Counts>) {
    loop {
        match channel.call::<Double>(21).await {
            Ok(_) => counts.answered.fetch_add(1, Relaxed),
            Err(error) => {
                eprintln!("{error}");
                counts.failed.fetch_add(1, Relaxed)
            }
        };
    }
}

/// Prints when the connection is made, and when it is lost.
async fn print_changes(mut state: watch::Receiver<ChannelState>) {
    let mut connected = 0;
    loop {
        let now = state.borrow_and_update().connected;
        if now != connected {
            connected = now;
            println!("{}", if now > 0 { "connected" } else { "lost" });
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> tcs::Result<()> {
    let mut server = Server::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let addr = server.addr;
    let (first, longest) = BACKOFF;
    let options = ChannelOptions::new(addr).backoff(first, longest);
    let channel = options.connect().await?;
    tokio::spawn(print_changes(channel.watch()));
    let counts = Arc::new(Counts::default());
    for _ in 0..CALLERS {
        tokio::spawn(call_repeatedly(channel.clone(), Arc::clone(&counts)));
    }

    counts.print_after(UP).await;
    for _ in 0..RESTARTS {
        println!("the server stops");
        server.stop().await?;
        counts.print_after(DOWN).await;
        println!("the server starts");
        server = Server::start(addr).await?;
        counts.print_after(UP).await;
    }
    let (connects, failed) = (channel.state().connects, counts.failed.load(Relaxed));
    println!("connections: {connects}, failed calls: {failed}");
    Ok(())
}
