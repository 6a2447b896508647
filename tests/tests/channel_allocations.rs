//! A call on a channel allocates nothing after the first ones.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcs::{Channel, ConcurrentServer, server_protocol};
use tcs_tests::within;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[server_protocol]
fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

const CALLS: usize = 1_000;

/// Calls from this many tasks; returns the allocations per call, without those of the tasks.
async fn allocations(channel: &Channel, tasks: usize) -> f64 {
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(tasks + 1));
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (channel, barrier) = (channel.clone(), barrier.clone());
        running.spawn(async move {
            let call = async || {
                let length = channel.call_with::<Echo, _>(&[b'x'; 64], <[u8]>::len);
                assert_eq!(length.await.expect("a reply"), 64);
            };
            call().await;
            barrier.wait().await;
            for _ in 0..CALLS {
                call().await;
            }
            barrier.wait().await;
        });
    }
    within(barrier.wait()).await;
    let region = Region::new(ALLOCATOR);
    within(barrier.wait()).await;
    let change = region.change();
    while let Some(ended) = within(running.join_next()).await {
        ended.expect("its replies");
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (count, calls) = (
        (change.allocations + change.reallocations) as f64,
        (tasks * CALLS) as f64,
    );
    count / calls
}

#[tokio::test]
async fn calls_allocate_nothing() {
    let server = ConcurrentServer::new(Echo)
        .port(0)
        .bind()
        .await
        .expect("a free port");
    let addr = server.local_addr();
    tokio::spawn(server.listen());
    let channel = within(Channel::connect(addr)).await.expect("it listens");
    for tasks in [1, 64, 512] {
        let count = allocations(&channel, tasks).await;
        println!("{tasks} tasks: {count} allocations per call");
        assert!(count <= 0.05, "{tasks} tasks: {count} per call");
    }
}
