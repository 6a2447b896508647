//! The library's pipeline: one task that has all requests of a connection in flight.

use std::{io, time::Instant};

use tcs::Connection;
use tokio::runtime::Builder;

use crate::{cpu::CpuTime, load::Outcome, options::Options, servers::ours::Echo};

/// After so many replies it looks at the clock.
const STRIDE: u64 = 256;

/// Runs a work that has one connection.
///
/// # Errors
///
/// When a request or its reply fails, a reply differs from its request, or the work has other
/// connections.
pub fn run(options: &Options) -> io::Result<Outcome> {
    if options.work.connections != 1 || options.work.reconnects || !options.others.is_empty() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(options)).map_err(io::Error::other)
}

async fn measure(options: &Options) -> tcs::Result<Outcome> {
    let message = vec![b'x'; options.work.size];
    let bounds = &options.bounds;
    let mut connection = Connection::connect(options.address).await?;
    let mut pipeline = connection.pipeline::<Echo>();
    for _ in 0..options.work.depth {
        pipeline.send(&message).await?;
    }
    let (mut start, mut own, mut replies) = (Instant::now(), CpuTime::now(), 0);
    let mut is_warm = false;
    loop {
        let reply = pipeline.receive().await?;
        assert_eq!(reply, Some(&*message), "a reply is not what was sent");
        pipeline.send(&message).await?;
        replies += 1;
        if replies % STRIDE != 0 && replies < bounds.requests {
            continue;
        }
        let time = start.elapsed();
        if !is_warm && time >= bounds.warm_up {
            (start, own, replies, is_warm) = (Instant::now(), CpuTime::now(), 0, true);
        } else if is_warm && (time >= bounds.time || replies >= bounds.requests) {
            return Ok(Outcome {
                requests: replies,
                time,
                own: CpuTime::now().since(own),
            });
        }
    }
}
