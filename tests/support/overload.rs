//! Servers with less capacity than is offered, one for each way in which requests wait.

use std::{sync::Arc, time::Duration};

use tcs::{ConcurrentServer, protocol::ServerProtocol, server_protocol};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    frame,
    offered::{Answered, Offered},
    threads::apart_on,
    work::SyncWork,
};

/// A kind of load, and a server for it, which has one thread unless another number is given.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// A function that computes for 1 ms, called by 64 connections: their tasks wait for each other.
    Computing,
    /// A function that computes for 80 ms, called by 12 connections of a server with two threads: they see new requests
    /// only between two calls.
    Long,
    /// A function that waits for 2 ms, called by 16 connections: requests wait for earlier ones of their connection.
    Waiting,
    /// A `blocking` function that sleeps for 10 ms, called by 256 connections. 8 may run: calls wait for a permit.
    Blocking,
    /// The same, for 40 ms: a build without optimization has time to answer what is too much.
    LongBlocking,
}

#[server_protocol]
async fn waits(_request: &str) {
    sleep(Duration::from_millis(2)).await;
}

#[server_protocol(blocking)]
fn blocks(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

impl Load {
    /// Offers this number of requests per second to a server with a limit for their waits.
    ///
    /// # Panics
    ///
    /// If the server fails.
    pub fn offer(self, rate: u32, limit: Option<Duration>) -> Answered {
        match self {
            Self::Computing => offer(1, 64, rate, limit, (SyncWork, "1000")),
            Self::Long => offer(2, 12, rate, limit, (SyncWork, "80000")),
            Self::Waiting => offer(1, 16, rate, limit, (Waits, "")),
            Self::Blocking => offer(1, 256, rate, limit, (Blocks, "10")),
            Self::LongBlocking => offer(1, 256, rate, limit, (Blocks, "40")),
        }
    }

    /// Returns about how many requests per second the server can process.
    pub const fn capacity(self) -> u32 {
        match self {
            Self::Computing => 1_000,
            Self::Long => 25,
            // The timers of tokio have a resolution of 1 ms.
            Self::Waiting => 16 * 400,
            Self::Blocking => 800,
            Self::LongBlocking => 200,
        }
    }
}

fn offer(
    workers: usize,
    connections: usize,
    rate: u32,
    limit: Option<Duration>,
    (protocol, request): (impl ServerProtocol, &str),
) -> Answered {
    let server = ConcurrentServer::new(Arc::new(protocol))
        .max_queue_time(limit)
        .max_blocking(8)
        .linger(None)
        .drain_timeout(Duration::ZERO);
    let server = apart_on(workers, server);
    let load = Offered {
        connections,
        rate,
        request: frame(request),
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let answered = runtime.block_on(load.to(server.addr()));
    server.stop();
    server.finished_after_aborts();
    answered
}
