//! Memory follows what has arrived, whatever thousands of peers claim or never end.
//!
//! One test in a process of its own, because the allocator is the process's.

use peak_alloc::PeakAlloc;
use tcs::{
    ConcurrentServer, CrlfLines, Delimited, Framing, LengthPrefixed, Lines, Netstrings, Prefixed,
    UntilEof, delimiter,
};
use tcs_tests::{gate, start, tester, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const PEERS: usize = 1_500;
/// What a connection costs whatever it has sent: its task, some 350 bytes for the beginning of a frame, and
/// the test's own end.
const CONNECTION: usize = 3 * 1024;

/// Returns how many bytes each connection takes at the peak, when each peer has sent `bytes`.
async fn peak<F: Framing>(bytes: &[u8]) -> usize {
    let server = ConcurrentServer::new(tester::<F>(&gate())).max_connections(2 * PEERS);
    let server = start(server).await;
    let mut peers = Vec::with_capacity(PEERS);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    for _ in 0..PEERS {
        let mut peer = TcpStream::connect(server.addr()).await.expect("it listens");
        peer.write_all(bytes).await.expect("the server reads");
        peers.push(peer);
    }
    // The end of each connection shows that all it had sent was read.
    for peer in &mut peers {
        within(peer.shutdown()).await.expect("it is open");
    }
    let mut end = [0; 256];
    for peer in &mut peers {
        while within(peer.read(&mut end))
            .await
            .is_ok_and(|count| count > 0)
        {}
    }
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    drop(peers);
    let report = server.stopped().await;
    assert_eq!(report.connections.accepted, PEERS as u64);
    // Where there is one exchange, the end makes a message of what was sent.
    let expected = if F::PERSISTENT { 0 } else { PEERS as u64 };
    assert_eq!(report.requests.served, expected);
    peak / PEERS
}

#[tokio::test]
async fn peak_is_in_proportion_to_what_arrived() {
    let descriptors = 2 * PEERS as u64 + 200;
    let raised = rlimit::increase_nofile_limit(descriptors).expect("the system says its limit");
    assert!(raised >= descriptors, "{raised} descriptors are too few");

    let endless = vec![b'7'; 40_000];
    for (what, peak) in [
        ("a line", peak::<Lines>(&endless).await),
        ("a strict line", peak::<CrlfLines>(&endless).await),
        (
            "a delimiter",
            peak::<Delimited<{ delimiter(b"\r\n.\r\n") }>>(&endless).await,
        ),
        ("the end", peak::<UntilEof>(&endless).await),
    ] {
        assert!(peak >= endless.len() / 2, "{what}: {peak} was not measured");
        // A buffer doubles, and is in two places while it does.
        assert!(peak <= 3 * endless.len() + CONNECTION, "{what}: {peak}");
    }
    let most = 8_u32 << 20;
    for (what, peak) in [
        ("an endless number", peak::<Netstrings>(&endless).await),
        ("a claim in digits", peak::<Netstrings>(b"8388608:").await),
        ("a claim", peak::<LengthPrefixed>(&most.to_be_bytes()).await),
        (
            "a plain claim",
            peak::<Prefixed<u32>>(&most.to_be_bytes()).await,
        ),
        (
            "a claim that is skipped",
            peak::<Prefixed<u32>>(&(4 * most).to_be_bytes()).await,
        ),
        ("a short claim", peak::<Prefixed<u16>>(&[0xff; 2]).await),
    ] {
        assert!(peak <= CONNECTION, "{what}: {peak}");
    }
}
