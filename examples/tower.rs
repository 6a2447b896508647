//! Layers of `tower` around a protocol: at most one request in flight, for at most 2 s.
//!
//! ```text
//! cargo run -p tcs-examples --features tower --example tower
//! ```
//!
//! A client sends a request that takes an hour, and meanwhile another one. Then it sends one that takes no time. It
//! prints what it receives:
//!
//! ```text
//! meanwhile: busy: one request is in flight
//! an hour: timed out: no reply within 2 s
//! no time: worked for 0 s
//! ```
//!
//! Try: remove `load_shed`. The second request then waits until the first has timed out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Rejection, RejectionKind,
    protocol::{
        tower::{CallProtocol, ServiceMiddleware},
        wrap,
    },
    server_protocol,
};
use tokio::{sync::Notify, time::sleep};
use tower::{BoxError, ServiceBuilder, load_shed::error::Overloaded, timeout::error::Elapsed};

#[server_protocol]
async fn work(seconds: u64, #[state] started: &Arc<Notify>) -> String {
    started.notify_one();
    sleep(Duration::from_secs(seconds)).await;
    format!("worked for {seconds} s")
}

/// Returns the rejection for an error of the layers. Otherwise, each is an error of the function.
fn to_rejection(error: BoxError) -> BoxError {
    if error.is::<Overloaded>() {
        Rejection::busy("one request is in flight").into()
    } else if error.is::<Elapsed>() {
        Rejection::new(RejectionKind::TimedOut, "no reply within 2 s").into()
    } else {
        error
    }
}

async fn call(addr: SocketAddr, seconds: u64) -> tcs::Result<String> {
    let mut connection = Connection::connect(addr).await?;
    match connection.call::<Work>(seconds).await {
        Ok(reply) => Ok(reply),
        Err(error) => error.rejection().map(ToString::to_string).ok_or(error),
    }
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let layers = ServiceBuilder::new()
        .map_err(to_rejection)
        .load_shed()
        .concurrency_limit(1)
        .timeout(Duration::from_secs(2))
        .service(CallProtocol);
    let started = Arc::new(Notify::new());
    let work = Work {
        started: Arc::clone(&started),
    };
    let server = ConcurrentServer::new(wrap(work, ServiceMiddleware::new(layers)))
        .port(0)
        .bind()
        .await?;
    let addr = server.local_addr();
    tokio::spawn(server.listen());

    let hour = tokio::spawn(call(addr, 3_600));
    started.notified().await;
    println!("meanwhile: {}", call(addr, 0).await?);
    println!("an hour: {}", hour.await.expect("no panic")?);
    println!("no time: {}", call(addr, 0).await?);
    Ok(())
}
