//! Replies that are sent while functions wait leave no memory behind.
//!
//! One test in a process of its own, because the allocator is the process's.

use peak_alloc::PeakAlloc;
use tcs::{ConcurrentServer, Lines, server_protocol};
use tcs_tests::within;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

static TURNS: Semaphore = Semaphore::const_new(0);

/// Waits for its turn, and answers much.
#[server_protocol(framing = Lines)]
async fn answer(_line: &str) -> String {
    TURNS.acquire().await.expect("it is never closed").forget();
    "x".repeat(10_000)
}

#[tokio::test]
async fn replies_that_are_never_all_sent_do_not_pile_up() {
    const ROUNDS: usize = 2_000;
    /// Some replies are always on their way, more than the pipe has room for.
    const AHEAD: usize = 5;
    let (near, mut far) = tokio::io::duplex(16 * 1024);
    let serving = tokio::spawn(ConcurrentServer::new(Answer).serve_stream(near));
    within(far.write_all(&b"\n".repeat(ROUNDS + AHEAD)))
        .await
        .expect("the server reads");
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    TURNS.add_permits(AHEAD);
    let mut reply = vec![0; 10_001];
    for _ in 0..ROUNDS {
        TURNS.add_permits(1);
        within(far.read_exact(&mut reply)).await.expect("a reply");
    }
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak < 1 << 20, "{peak}");
    drop(far);
    let report = within(serving).await.expect("no panic").expect("it serves");
    assert!(report.requests.received >= ROUNDS as u64, "{report}");
}
