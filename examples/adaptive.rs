//! A server that finds out how many requests it can process at a time, and answers *busy* beyond.
//!
//! ```text
//! cargo run -p tcs-examples --features tower --example adaptive
//! ```
//!
//! It listens on 127.0.0.1:1234. Each request needs one of four workers for 10 ms, and waits until one is free. The
//! crate `tower-acc` measures how long requests take. It allows more of them as long as they are fast, and fewer when
//! they wait for each other.
//!
//! Try: in a second terminal, run
//!
//! ```text
//! for i in $(seq 100); do yes | head -n 20 | nc -N localhost 1234 & done | sort | uniq -c
//! ```
//!
//! which counts the replies. Without the layers, no request is rejected, and each takes 250 ms.

use std::time::Duration;

use tcs::{
    ConcurrentServer, Rejection,
    framing::Lines,
    protocol::{
        tower::{CallProtocol, ServiceMiddleware},
        wrap,
    },
    server_protocol,
};
use tokio::{sync::Semaphore, time::sleep};
use tower::{BoxError, ServiceBuilder, load_shed::error::Overloaded};
use tower_acc::{ConcurrencyLimitLayer, Vegas};

#[server_protocol(framing = Lines, reject_with = in_words)]
async fn work(_line: &str, #[state] workers: &Semaphore) -> &'static str {
    let _worker = workers.acquire().await;
    sleep(Duration::from_millis(10)).await;
    "done"
}

fn in_words(rejection: &Rejection) -> String {
    rejection.to_string()
}

fn to_rejection(error: BoxError) -> BoxError {
    if error.is::<Overloaded>() {
        Rejection::busy("try again later").into()
    } else {
        error
    }
}

#[tokio::main]
async fn main() -> tcs::Result<()> {
    let layers = ServiceBuilder::new()
        .map_err(to_rejection)
        .load_shed()
        .layer(ConcurrencyLimitLayer::new(Vegas::default()))
        .service(CallProtocol);
    let work = Work {
        workers: Semaphore::new(4),
    };
    let report = ConcurrentServer::new(wrap(work, ServiceMiddleware::new(layers)))
        .listen_until_signal()
        .await?;
    println!("{report}");
    Ok(())
}
