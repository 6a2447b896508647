//! A thousand peers that send all but the last byte of a large message, or do not read a large reply, stay within the
//! memory budget.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use peak_alloc::PeakAlloc;
use tcs::{ConcurrentServer, framing::LengthPrefixed, transport::memory};
use tcs_tests::{
    BlockingFn, Heard, Kind, RawPeer, SyncFn, WaitingFn, adds_up, code, frame, gate, patiently,
    tester_of,
};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const BUDGET: usize = 64 * MIB;
const SILENT: usize = 40;
/// What replies may take beyond the budget for 2 s.
const OVERDRAFT: usize = BUDGET / 4;
/// What a connection may take beside: a buffer of 128 KiB, the pipe of the test of 64 KiB, and some for the tasks.
const CONNECTION: usize = 212 * 1024;

#[tokio::test(start_paused = true)]
async fn liars_and_peers_that_do_not_read_stay_within_the_budget() {
    stay_within_the_budget::<SyncFn>(1_024).await;
    // The kinds differ in who waits while a reply is not read.
    stay_within_the_budget::<WaitingFn>(64).await;
    stay_within_the_budget::<BlockingFn>(64).await;
}

async fn stay_within_the_budget<K: Kind>(liars: usize) {
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()))
        .listener(listener)
        .max_connections(2_000)
        .memory_budget(BUDGET);
    let server = tokio::spawn(server.listen());
    let connect = async || {
        let stream = patiently(connector.connect()).await;
        RawPeer::over(stream.expect("it listens"))
    };
    let mut small = connect().await;
    assert_eq!(patiently(small.ask("small")).await, Heard::message("small"));
    // All but the last byte of 8 MiB.
    let mut request = frame("a".repeat(8 * MIB));
    request.pop();
    let request: Arc<[u8]> = request.into();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();

    let mut peers = JoinSet::new();
    for _ in 0..liars {
        let mut liar = connect().await;
        let request = Arc::clone(&request);
        peers.spawn(async move {
            // The server may have closed.
            liar.try_send(&request).await.ok();
            let heard = liar.hear().await;
            // The last ones keep their memory for `frame_timeout`, because nobody waits for it.
            assert!(
                [code::BUSY, code::IDLE].contains(&heard.kind()),
                "{heard:?}"
            );
        });
    }
    for _ in 0..SILENT {
        let mut silent = connect().await;
        peers.spawn(async move {
            silent.send(frame(format!("size {}", 8 * MIB))).await;
            tokio::time::sleep(Duration::from_mins(10)).await;
            // What was cut is less than the reply.
            let rest = silent.try_rest().await.expect("a pipe in memory");
            assert!(rest.len() < 8 * MIB);
        });
    }
    while !peers.is_empty() {
        // A small caller is served all the while, and none of it takes a second of the clock of the test. Its time is
        // measured as well, with a limit that only a server that is stuck exceeds.
        let began = Instant::now();
        let reply = tokio::time::timeout(Duration::from_secs(1), small.ask("small"));
        assert_eq!(reply.await.expect("in time"), Heard::message("small"));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?}");
        tokio::select! {
            done = peers.join_next() => done.expect("there are some").expect("no panic"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    let peak = ALLOCATOR.peak_usage() - before;
    assert!(peak > BUDGET / 2, "{peak} was not measured");
    let most = BUDGET + OVERDRAFT + (liars + SILENT) * CONNECTION;
    assert!(peak < most, "{peak} is more than {most}");
    drop((small, connector));
    let report = patiently(server).await.expect("no panic").expect("it ends");
    adds_up(&report);
    assert_eq!(report.requests.rejected, liars as u64);
}
