//! Hundreds of peers that send all but the last byte of a large message, or do not read a large reply, stay within the
//! memory budget.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use tcs::{ConcurrentServer, server_protocol, transport::memory};
use tcs_tests::{Heard, RawPeer, adds_up, code, frame, patiently};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
const BUDGET: usize = 64 * MIB;
const LIARS: usize = 256;
const SILENT: usize = 40;
/// What a connection may take beside the budget: two buffers of 128 KiB, and the pipe of the test.
const CONNECTION: usize = 320 * 1024;

#[server_protocol]
fn repeat(request: &str) -> String {
    match request.parse() {
        Ok(length) => "x".repeat(length),
        Err(_) => request.len().to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn liars_and_peers_that_do_not_read_stay_within_the_budget() {
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(Repeat)
        .listener(listener)
        .memory_budget(BUDGET);
    let server = tokio::spawn(server.listen());
    let connect = async || {
        let stream = patiently(connector.connect()).await;
        RawPeer::over(stream.expect("it listens"))
    };
    let mut small = connect().await;
    assert_eq!(patiently(small.ask("small")).await, Heard::message("5"));
    // All but the last byte of 8 MiB.
    let mut request = frame("a".repeat(8 * MIB));
    request.pop();
    let request: &'static [u8] = request.leak();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();

    let mut peers = JoinSet::new();
    for _ in 0..LIARS {
        let mut liar = connect().await;
        peers.spawn(async move {
            // The server may have closed.
            liar.try_send(request).await.ok();
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
            silent.send(frame((8 * MIB).to_string())).await;
            tokio::time::sleep(Duration::from_mins(10)).await;
            // What was cut is less than the reply.
            let rest = silent.try_rest().await.expect("a pipe in memory");
            assert!(rest.len() < 8 * MIB);
        });
    }
    while !peers.is_empty() {
        // A small caller is served all the while, and none of it takes a second.
        let reply = tokio::time::timeout(Duration::from_secs(1), small.ask("small"));
        assert_eq!(reply.await.expect("in time"), Heard::message("5"));
        tokio::select! {
            done = peers.join_next() => done.expect("there are some").expect("no panic"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    let peak = ALLOCATOR.peak_usage() - before;
    assert!(peak > BUDGET / 2, "{peak} was not measured");
    let most = BUDGET + (LIARS + SILENT) * CONNECTION;
    assert!(peak < most, "{peak} is more than {most}");
    drop((small, connector));
    let report = patiently(server).await.expect("no panic").expect("it ends");
    adds_up(&report);
    assert_eq!(report.requests.rejected, LIARS as u64);
}
