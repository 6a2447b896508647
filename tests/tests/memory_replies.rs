//! Requests and replies leave no memory behind while later functions wait.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::env;

use peak_alloc::PeakAlloc;
use tcs::{
    ConcurrentServer, Peer,
    format::Json,
    framing::{LengthPrefixed, Lines},
    protocol::{Push, Replies, Requests},
    server_protocol,
};
use tcs_tests::{Kind, RawPeer, ReadyFn, WaitingFn, frame, gate, tester_of, within};
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
async fn nothing_is_kept_while_later_functions_wait() {
    replies_that_are_never_all_sent_do_not_pile_up().await;
    large_reply_that_was_sent_leaves_no_memory_behind::<ReadyFn>().await;
    large_reply_that_was_sent_leaves_no_memory_behind::<WaitingFn>().await;
    text_with_escapes_leaves_no_memory_behind().await;
    chunks_of_a_request_pass_in_constant_memory().await;
    many_items_and_events_leave_no_memory_behind().await;
}

async fn replies_that_are_never_all_sent_do_not_pile_up() {
    const ROUNDS: usize = 2_000;
    /// Some replies are always on their way, more than the pipe has room for.
    const AHEAD: usize = 5;
    let (near, mut far) = tokio::io::duplex(16 * 1024);
    let serving = tokio::spawn(ConcurrentServer::new(Answer).serve_stream(near, Peer::unnamed()));
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

async fn large_reply_that_was_sent_leaves_no_memory_behind<K: Kind>() {
    const LARGE: usize = 8_000_000;
    let gate = gate();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut peer = RawPeer::over(near);
    let before = ALLOCATOR.current_usage();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let large = format!("size {LARGE}");
    within(peer.send([frame(large.as_bytes()), frame(b"wait more")].concat())).await;
    drop(within(peer.receive(4 + LARGE)).await);
    within(gate.reached()).await;
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    assert!(kept < 1 << 20, "{kept}");
    gate.open();
    assert_eq!(within(peer.receive(8)).await, frame(b"more"));
    drop(peer);
    let report = within(serving).await.expect("no panic").expect("it serves");
    assert_eq!(report.requests.served, 2);
}

/// Waits for its turn if the text is short.
#[server_protocol(format = Json)]
async fn measure(text: &str) -> usize {
    if text.len() < 10 {
        TURNS.acquire().await.expect("it is never closed").forget();
    }
    text.len()
}

/// A text with escapes is written anew where it can be borrowed. A request that waits after it does not
/// need that.
async fn text_with_escapes_leaves_no_memory_behind() {
    let without = kept_after("xx".repeat(1_000_000)).await;
    let with = kept_after(r"\n".repeat(1_000_000)).await;
    assert!(with <= without + (512 << 10), "{with}, {without} without");
}

/// Returns how much memory a connection has while a function waits after the request with this text.
async fn kept_after(text: String) -> usize {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut peer = RawPeer::over(near);
    let requests = [frame(format!("\"{text}\"").as_bytes()), frame(b"\"wait\"")];
    let requests = requests.concat();
    let before = ALLOCATOR.current_usage();
    let serving = tokio::spawn(ConcurrentServer::new(Measure).serve_stream(far, Peer::unnamed()));
    within(peer.send(&requests)).await;
    within(peer.receive(4 + 7)).await;
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    TURNS.add_permits(1);
    assert_eq!(within(peer.receive(4 + 1)).await, frame(b"4"));
    drop(peer);
    let report = within(serving).await.expect("no panic").expect("it serves");
    assert_eq!(report.requests.served, 2);
    kept
}

/// Counts the bytes of its chunks.
#[server_protocol(requests = &[u8])]
async fn collect(_request: &str, mut more: Requests<'_, Collect>) -> Result<usize, String> {
    let mut sum = 0;
    while let Some(chunk) = more.next().await? {
        sum += chunk.len();
    }
    Ok(sum)
}

async fn chunks_of_a_request_pass_in_constant_memory() {
    const CHUNK: usize = 10_000;
    /// How many chunks there are, unless the environment has `TCS_STREAM_CHUNKS`.
    const CHUNKS: usize = 1_000;
    let count = env::var("TCS_STREAM_CHUNKS").ok();
    let count = count.map_or(CHUNKS, |count| count.parse().expect("a number"));
    let rounds = usize::div_ceil(count, 10);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut peer = RawPeer::over(near);
    let serving = tokio::spawn(ConcurrentServer::new(Collect).serve_stream(far, Peer::unnamed()));
    // A notice: the next ten messages are chunks. After the last one, there is another notice.
    let notice = [0x80, 0, 0, 5, 0x83, 0, 0, 0, 10];
    let chunks = [&notice[..], &frame([b'x'; CHUNK]).repeat(10)].concat();
    within(peer.send(frame("go"))).await;
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    for _ in 0..rounds {
        within(peer.send(&chunks)).await;
    }
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak < 1 << 20, "{peak}");
    println!("{peak} bytes of memory for {} bytes", rounds * 10 * CHUNK);
    within(peer.send([0x80, 0, 0, 1, 0x84])).await;
    let reply = frame((rounds * 10 * CHUNK).to_string());
    assert_eq!(within(peer.receive(reply.len())).await, reply);
    drop(peer);
    let report = within(serving).await.expect("no panic").expect("it serves");
    assert_eq!(report.requests.served, 1);
}

/// Sends small items, and then empty events.
#[server_protocol(framing = Lines, replies = u8, push = &str)]
async fn send_many(
    count: usize,
    push: Push<SendMany>,
    mut out: Replies<'_, SendMany>,
) -> Result<&'static str, String> {
    for _ in 0..count {
        out.send(1).await?;
        push.try_send("")?;
    }
    Ok("end")
}

async fn many_items_and_events_leave_no_memory_behind() {
    let (near, far) = tokio::io::duplex(1024);
    let mut peer = RawPeer::over(near);
    let server = ConcurrentServer::new(SendMany).max_push_queue(1 << 20);
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut kept = Vec::new();
    for (request, length) in [("1\n", 7), ("30000\n", 90_004)] {
        within(peer.send(request)).await;
        within(peer.receive(length)).await;
        // It waits for the next request.
        tokio::task::yield_now().await;
        kept.push(ALLOCATOR.current_usage());
    }
    // The buffer that it has released may be larger.
    assert!(kept[1] < kept[0] + (128 << 10), "{kept:?}");
    drop(peer);
    let report = within(serving).await.expect("no panic").expect("it serves");
    assert_eq!(report.requests.served, 2);
}
