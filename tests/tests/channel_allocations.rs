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
    sync::Barrier,
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

/// Waits once.
#[server_protocol(framing = Multiplexed)]
async fn later(bytes: &[u8]) -> &[u8] {
    yield_now().await;
    bytes
}

/// Returns how many calls each of `tasks` tasks makes: few of many tasks, because the machine may be busy.
const fn calls_of(tasks: usize) -> usize {
    if tasks > 64 { 64_000 / tasks } else { 1_000 }
}

/// Serves the protocol, and calls it from more and more tasks. Counts the allocations per call, without those of the
/// tasks.
///
/// A macro, because the future of a call of any protocol is not known to be `Send`.
macro_rules! calls_allocate_nothing {
    ($protocol:ident, $framing:ty, $alone:expr, $beside:expr) => {
        let server = ConcurrentServer::new($protocol).port(0);
        let server = server.bind().await.expect("a free port");
        let addr = server.local_addr();
        tokio::spawn(server.listen());
        let channel = within(Channel::<$framing>::connect(addr)).await;
        let channel = channel.expect("it listens");
        for tasks in [1, 64, 512] {
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
            let most = if tasks == 1 { $alone } else { $beside };
            assert!(count <= most, "{tasks} tasks: {count} per call");
            while let Some(ended) = within(running.join_next()).await {
                ended.expect("its replies");
            }
        }
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
    calls_allocate_nothing!(Echo, LengthPrefixed, 0.05, 0.05);
    calls_allocate_nothing!(Beside, Multiplexed, 0.05, 0.05);
    // A connection whose requests all are answered gives back what it needs to run them side by side. How often that
    // happens with many tasks, the scheduler decides.
    calls_allocate_nothing!(Later, Multiplexed, 10.5, 0.2);
}
