//! A call on a channel allocates nothing after the first ones.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::{alloc::System, sync::Arc};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcs::{
    Channel, ConcurrentServer,
    framing::{LengthPrefixed, Multiplexed},
    server_protocol,
};
use tcs_tests::within;
use tokio::{
    sync::{Barrier, Notify},
    task::{JoinSet, yield_now},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[server_protocol]
fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

#[server_protocol(framing = Multiplexed)]
fn beside(bytes: &[u8]) -> &[u8] {
    bytes
}

/// Waits once, or until `HELD` is notified.
#[server_protocol(framing = Multiplexed)]
async fn later(bytes: &[u8]) -> &[u8] {
    if bytes == b"hold" {
        HELD.notified().await;
    }
    yield_now().await;
    bytes
}

static HELD: Notify = Notify::const_new();

/// Returns how many calls each of `tasks` tasks makes: few of many tasks, because the machine may be busy.
const fn calls_of(tasks: usize) -> usize {
    if tasks > 64 { 64_000 / tasks } else { 1_000 }
}

/// Serves the protocol, and calls it from more and more tasks. Counts the allocations per call, without those of the
/// tasks.
///
/// A macro, because the future of a call of any protocol is not known to be `Send`.
macro_rules! calls_allocate_nothing {
    ($protocol:ident, $framing:ty, $tasks:expr, $most:expr, holds: $holds:expr) => {
        let server = ConcurrentServer::new($protocol).port(0);
        let server = server.bind().await.expect("a free port");
        let addr = server.local_addr();
        tokio::spawn(server.listen());
        let channel = within(Channel::<$framing>::connect(addr)).await;
        let channel = channel.expect("it listens");
        let holding = channel.clone();
        let held = tokio::spawn(async move {
            if $holds {
                let length = holding.call_with::<$protocol, _>(b"hold", <[u8]>::len);
                assert_eq!(length.await.expect("a reply"), 4);
            }
        });
        for tasks in $tasks {
            let barrier = Arc::new(Barrier::new(tasks + 1));
            let mut running = JoinSet::new();
            for _ in 0..tasks {
                let (channel, barrier) = (channel.clone(), barrier.clone());
                running.spawn(async move {
                    let call = async || {
                        let length = channel.call_with::<$protocol, _>(&[b'x'; 64], <[u8]>::len);
                        assert_eq!(length.await.expect("a reply"), 64);
                    };
                    call().await;
                    barrier.wait().await;
                    for _ in 0..calls_of(tasks) {
                        call().await;
                    }
                    barrier.wait().await;
                });
            }
            let count = count(&barrier, tasks).await;
            println!(
                "{}, {tasks} tasks: {count} allocations per call",
                stringify!($protocol)
            );
            assert!(count <= $most, "{tasks} tasks: {count} per call");
            while let Some(ended) = within(running.join_next()).await {
                ended.expect("its replies");
            }
        }
        if $holds {
            HELD.notify_one();
        }
        within(held).await.expect("its reply");
    };
}

/// Returns the allocations per call of `tasks` tasks, which begin and end at the barrier.
async fn count(barrier: &Barrier, tasks: usize) -> f64 {
    within(barrier.wait()).await;
    let region = Region::new(ALLOCATOR);
    within(barrier.wait()).await;
    let change = region.change();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (count, calls) = (
        (change.allocations + change.reallocations) as f64,
        (tasks * calls_of(tasks)) as f64,
    );
    count / calls
}

#[tokio::test]
async fn calls_allocate_nothing() {
    calls_allocate_nothing!(Echo, LengthPrefixed, [1, 64, 512], 0.05, holds: false);
    calls_allocate_nothing!(Beside, Multiplexed, [1, 64, 512], 0.05, holds: false);
    // A connection whose requests all are answered gives back what it needs to run them side by side.
    calls_allocate_nothing!(Later, Multiplexed, [1], 10.5, holds: false);
    calls_allocate_nothing!(Later, Multiplexed, [64, 512], 0.2, holds: true);
}
