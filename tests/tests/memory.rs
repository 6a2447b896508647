//! Memory follows what has arrived, whatever thousands of peers claim or never end.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::time::Duration;

use peak_alloc::PeakAlloc;
use tcs::{
    ConcurrentServer,
    framing::{
        CrlfLines, Delimited, Exchanges, Framing, LengthPrefixed, Lines, Netstrings, Prefixed,
        UntilEof, delimiter,
    },
};
use tcs_tests::{
    BlockingFn, Heard, Kind, RawPeer, ReadyFn, SyncFn, WaitingFn, gate, start, tester_of, within,
};
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
async fn peak<K: Kind, F: Framing>(bytes: &[u8]) -> usize {
    let server = ConcurrentServer::new(tester_of::<K, F>(&gate())).max_connections(2 * PEERS);
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
    let expected = if F::EXCHANGES == Exchanges::Many {
        0
    } else {
        PEERS as u64
    };
    assert_eq!(report.requests.served, expected);
    peak / PEERS
}

#[tokio::test]
async fn peak_is_in_proportion_to_what_arrived() {
    let descriptors = 2 * PEERS as u64 + 200;
    let raised = rlimit::increase_nofile_limit(descriptors).expect("the system says its limit");
    assert!(raised >= descriptors, "{raised} descriptors are too few");

    peaks_of_framings::<SyncFn>().await;
    peaks::<ReadyFn>().await;
    peaks::<WaitingFn>().await;
    peaks::<BlockingFn>().await;
    for left in [
        left_behind::<SyncFn>().await,
        left_behind::<ReadyFn>().await,
        left_behind::<WaitingFn>().await,
        left_behind::<BlockingFn>().await,
    ] {
        assert!(left <= CONNECTION, "{left}");
    }
}

/// What a message without end costs, and one that is only claimed.
async fn peaks<K: Kind>() {
    let endless = vec![b'7'; 40_000];
    let (line, end) = (
        peak::<K, Lines>(&endless).await,
        peak::<K, UntilEof>(&endless).await,
    );
    for (what, peak) in [("a line", line), ("the end", end)] {
        in_proportion(what, peak, &endless);
    }
    let most = 8_u32 << 20;
    let claim = peak::<K, LengthPrefixed>(&most.to_be_bytes()).await;
    assert!(claim <= CONNECTION, "a claim: {claim}");
}

fn in_proportion(what: &str, peak: usize, sent: &[u8]) {
    assert!(peak >= sent.len() / 2, "{what}: {peak} was not measured");
    // A buffer doubles, and is in two places while it does.
    assert!(peak <= 3 * sent.len() + CONNECTION, "{what}: {peak}");
}

/// The same, for all framings that wait for the end of something.
async fn peaks_of_framings<K: Kind>() {
    peaks::<K>().await;
    let endless = vec![b'7'; 40_000];
    for (what, peak) in [
        ("a strict line", peak::<K, CrlfLines>(&endless).await),
        (
            "a delimiter",
            peak::<K, Delimited<{ delimiter(b"\r\n.\r\n") }>>(&endless).await,
        ),
    ] {
        in_proportion(what, peak, &endless);
    }
    let most = 8_u32 << 20;
    for (what, peak) in [
        ("an endless number", peak::<K, Netstrings>(&endless).await),
        (
            "a claim in digits",
            peak::<K, Netstrings>(b"8388608:").await,
        ),
        (
            "a plain claim",
            peak::<K, Prefixed<4>>(&most.to_be_bytes()).await,
        ),
        (
            "a claim that is skipped",
            peak::<K, Prefixed<4>>(&(4 * most).to_be_bytes()).await,
        ),
        ("a short claim", peak::<K, Prefixed<2>>(&[0xff; 2]).await),
    ] {
        assert!(peak <= CONNECTION, "{what}: {peak}");
    }
}

/// Waits until each of the peers has heard its last word.
async fn told(mut peers: Vec<RawPeer>, word: &str) -> Vec<RawPeer> {
    for peer in &mut peers {
        let Heard::Control(_, text) = within(peer.hear()).await else {
            panic!("no last word");
        };
        assert!(text.starts_with(word), "{text}");
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    peers
}

/// Returns how many bytes a connection leaves behind that never completed a large frame when its limit is
/// over, while its peer stays there.
async fn left_behind<K: Kind>() -> usize {
    const STALLED: usize = 20;
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()))
        .frame_timeout(Duration::from_millis(100))
        .linger(None);
    let server = start(server).await;
    // Less than what earns a second more.
    let claim = [2_000_000_u32.to_be_bytes().to_vec(), vec![b'7'; 60_000]].concat();
    let mut peers = Vec::new();
    let before = ALLOCATOR.current_usage();
    for _ in 0..STALLED {
        let mut peer = server.peer().await;
        within(peer.send(&claim)).await;
        peers.push(peer);
    }
    let mut peers = told(peers, "the frame was not complete after ").await;
    let left = ALLOCATOR.current_usage().saturating_sub(before) / STALLED;
    // Those that rest are told as well, and nothing is left.
    let mut resting = server.peer().await;
    assert_eq!(within(resting.ask("hello")).await, Heard::message("hello"));
    server.handle().stop();
    peers.push(resting);
    let last = peers.split_off(STALLED);
    told(last, "the server is stopping").await;
    drop(peers);
    let report = server.finished().await;
    assert_eq!(report.requests.rejected, STALLED as u64);
    left
}
