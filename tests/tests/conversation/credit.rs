//! The credit of streamed replies with ids: where it may come, and what becomes of a stream that gets none.

use std::{iter::repeat_n, time::Duration};

use tcs::{
    ConcurrentServer,
    framing::Multiplexed,
    protocol::{Replies, Requests, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    RawPeer, code, ended_in_time,
    ids::{
        control_of,
        kind::{CREDIT, ITEMS},
        message_of, receive_frame,
    },
    patiently, serve_in_memory,
};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::concurrent::outcomes;

/// Enough for a pipe to hold what a peer does not read.
const PIPE: usize = 1 << 20;
/// The length in bytes of an item, which costs 1,024 bytes of credit.
const ITEM_LEN: usize = 1_016;
/// How many items the credit at the beginning is for.
const FIRST_ITEMS: usize = 256;
/// A stream whose function returns while one of its items waits for credit.
const RETURNED: &str = "257";
/// A stream whose function waits for credit.
const RUNNING: &str = "400";

/// Sends as many items as the request says, one request at a time.
#[server_protocol(framing = Multiplexed, replies = String, concurrent = 1)]
async fn alone(request: &str, mut out: Replies<'_, Alone>) -> Result<&'static str, String> {
    out.send_all(items(request)).await?;
    Ok("end")
}

/// Like [`alone`], without slots: requests with chunks are processed one after the other.
#[server_protocol(framing = Multiplexed, replies = String, requests = &str)]
async fn in_sequence(
    request: &str,
    mut out: Replies<'_, InSequence>,
    _: Requests<'_, InSequence>,
) -> Result<&'static str, String> {
    out.send_all(items(request)).await?;
    Ok("end")
}

/// Returns as many items as the request says, and as long, if it says so: `400`, `2*1000`.
fn items(request: &str) -> impl Iterator<Item = String> + use<> {
    let request = request.trim_end();
    let (number, length) = request.split_once('*').unwrap_or((request, ""));
    let length = length.parse().unwrap_or(ITEM_LEN);
    repeat_n("i".repeat(length), number.parse().expect("a number"))
}

fn credit(id: u32, items: u32) -> Vec<u8> {
    control_of(id, CREDIT, (items * 1_024).to_be_bytes())
}

/// A call without items that no backlog has room behind.
fn large_call(id: u32) -> Vec<u8> {
    message_of(id, format!("0{}", " ".repeat(70 * 1_024)))
}

/// What a peer hears apart from announcements.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Item(u32),
    End(u32),
    Rejection(u32, u8, String),
}

use Heard::{End, Item, Rejection};

async fn hear(peer: &mut RawPeer) -> Heard {
    loop {
        let (id, kind, text) = patiently(receive_frame(peer)).await;
        return match kind {
            Some(ITEMS) => continue,
            Some(kind) => Rejection(id, kind, String::from_utf8(text).expect("it is text")),
            None if text == b"end" => End(id),
            None => {
                assert_eq!(text.len(), ITEM_LEN);
                Item(id)
            }
        };
    }
}

/// Receives this many items of the request 1.
async fn hear_items(peer: &mut RawPeer, count: usize) {
    for _ in 0..count {
        assert_eq!(hear(peer).await, Item(1));
    }
}

/// Receives the rest of a stream of the request 1, and what comes after it.
async fn hear_rest(peer: &mut RawPeer) -> (usize, Heard) {
    let mut items = 0;
    loop {
        match hear(peer).await {
            Item(1) => items += 1,
            other => return (items, other),
        }
    }
}

#[test]
fn protocols_are_what_they_are_named() {
    assert!(Alone::CONCURRENT.is_some());
    assert_eq!(InSequence::CONCURRENT, None);
}

#[tokio::test(start_paused = true)]
async fn credit_is_found_behind_requests_that_wait_for_a_place() {
    for (stream, rest) in [(RUNNING, 400 - FIRST_ITEMS), (RETURNED, 1)] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Alone), PIPE);
        peer.send(message_of(1, stream)).await;
        hear_items(&mut peer, FIRST_ITEMS).await;
        // The first waits, and there is no room for the second.
        peer.send([large_call(2), large_call(3), credit(1, 1_000)].concat())
            .await;
        let (items, busy) = hear_rest(&mut peer).await;
        assert!(
            items == 0 && matches!(busy, Rejection(3, code::BUSY, _)),
            "{items} items of {stream}, then {busy:?}"
        );
        assert_eq!(hear_rest(&mut peer).await, (rest, End(1)), "{stream}");
        assert_eq!(hear(&mut peer).await, End(2));
        drop(peer);
        let report = patiently(serving).await.expect("no panic");
        assert_eq!(outcomes(&report), [2, 0, 1, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_behind_a_full_backlog_when_no_stream_waits_for_credit() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Alone), PIPE);
    let calls = [1, 2, 3, 4].map(large_call);
    peer.send(calls.concat()).await;
    for id in [1, 2, 3, 4] {
        assert_eq!(hear(&mut peer).await, End(id));
    }
}

#[tokio::test(start_paused = true)]
async fn stream_in_sequence_fails_when_its_credit_is_out_of_reach() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(InSequence), PIPE);
    peer.send(message_of(1, RUNNING)).await;
    peer.send([large_call(2), large_call(3), credit(1, 1_000)].concat())
        .await;
    let (items, rejection) = hear_rest(&mut peer).await;
    assert!(items <= FIRST_ITEMS, "{items}");
    let Rejection(1, code::FAILED, text) = rejection else {
        panic!("{rejection:?}");
    };
    assert!(text.contains("64 KiB of further requests"), "{text}");
    // The connection goes on.
    for id in [2, 3] {
        assert_eq!(hear(&mut peer).await, End(id));
    }
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn stream_without_credit_ends_after_write_timeout() {
    for stream in [RUNNING, RETURNED] {
        stream_ends_without_credit(Alone, stream).await;
    }
    stream_ends_without_credit(InSequence, RUNNING).await;
}

async fn stream_ends_without_credit<P: ServerProtocol>(protocol: P, stream: &str) {
    const LIMIT: Duration = Duration::from_secs(10);
    let server = ConcurrentServer::new(protocol).write_timeout(LIMIT);
    let (mut peer, serving) = serve_in_memory(server, PIPE);
    peer.send([message_of(1, stream), message_of(2, "0")].concat())
        .await;
    let began = Instant::now();
    let (_, rejection) = hear_rest(&mut peer).await;
    ended_in_time(began, LIMIT);
    let Rejection(1, code::TIMED_OUT, text) = rejection else {
        panic!("{rejection:?}");
    };
    assert!(text.contains("`write_timeout`"), "{text}");
    // The connection goes on.
    assert_eq!(hear(&mut peer).await, End(2));
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn stream_without_credit_ends_at_once_where_none_can_come() {
    for stream in [RUNNING, RETURNED] {
        stream_ends_with_the_input(|| Alone, stream).await;
    }
    stream_ends_with_the_input(|| InSequence, RUNNING).await;
}

async fn stream_ends_with_the_input<P: ServerProtocol>(protocol: fn() -> P, stream: &str) {
    // A control frame that clients do not send, or the end.
    for bad in [Some(control_of(0, 0x01, "")), None] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol()), PIPE);
        let began = Instant::now();
        peer.send(message_of(1, stream)).await;
        match &bad {
            Some(bad) => peer.send(bad).await,
            None => peer.finish().await,
        }
        let (_, rejection) = hear_rest(&mut peer).await;
        let Rejection(1, code::FAILED, text) = rejection else {
            panic!("{rejection:?}");
        };
        assert!(text.contains("credit"), "{text}");
        if bad.is_some() {
            let bad = hear(&mut peer).await;
            assert!(
                matches!(bad, Rejection(_, code::PROTOCOL_ERROR, _)),
                "{bad:?}"
            );
        }
        assert!(patiently(peer.rest()).await.is_empty());
        assert!(began.elapsed() < Duration::from_secs(1), "it has waited");
        let report = patiently(serving).await.expect("no panic");
        assert_eq!(outcomes(&report), [0, 1, u64::from(bad.is_some()), 0]);
    }
}

/// Sends as many items as the request says, beside others.
#[server_protocol(framing = Multiplexed, replies = String)]
async fn beside(request: &str, mut out: Replies<'_, Beside>) -> Result<&'static str, String> {
    out.send_all(items(request)).await?;
    Ok("end")
}

#[tokio::test(start_paused = true)]
async fn stream_without_credit_ends_beside_one_that_always_has_items() {
    let server = ConcurrentServer::new(Beside).write_timeout(Duration::from_secs(10));
    let (mut peer, _serving) = serve_in_memory(server, PIPE);
    // Each of its items fills the write buffer.
    let endless = [message_of(1, "1000000*70000"), credit(1, 1_000_000)];
    peer.send([endless.concat(), message_of(2, RUNNING)].concat())
        .await;
    // With all that may be on its way.
    for _ in 0..1_000 {
        if let (2, Some(kind), _) = patiently(receive_frame(&mut peer)).await
            && kind != ITEMS
        {
            assert_eq!(kind, code::TIMED_OUT);
            return;
        }
        advance(Duration::from_millis(100)).await;
    }
    panic!("it has no end");
}

#[tokio::test(start_paused = true)]
async fn each_credit_begins_write_timeout_again() {
    credit_comes_slowly(Alone).await;
    credit_comes_slowly(InSequence).await;
}

async fn credit_comes_slowly<P: ServerProtocol>(protocol: P) {
    let server = ConcurrentServer::new(protocol).write_timeout(Duration::from_secs(10));
    let (mut peer, serving) = serve_in_memory(server, PIPE);
    peer.send(message_of(1, RUNNING)).await;
    for _ in 0..3 {
        sleep(Duration::from_secs(9)).await;
        peer.send(credit(1, 100)).await;
    }
    assert_eq!(hear_rest(&mut peer).await, (400, End(1)));
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn credit_has_time_until_an_item_longer_than_it_can_be_received() {
    item_is_received_slowly(Alone).await;
    item_is_received_slowly(InSequence).await;
}

async fn item_is_received_slowly<P: ServerProtocol>(protocol: P) {
    let server = ConcurrentServer::new(protocol).write_timeout(Duration::from_secs(10));
    let (mut peer, serving) = serve_in_memory(server, 64 << 10);
    peer.send(message_of(1, "2*1000000")).await;
    for second in 0..15 {
        patiently(peer.receive(64 << 10)).await;
        sleep(Duration::from_secs(1)).await;
        if second == 9 {
            // For a part of the item. It leaves the time as it is.
            peer.send(credit(1, 600)).await;
        }
    }
    peer.send(credit(1, 2_000)).await;
    peer.finish().await;
    assert!(patiently(peer.rest()).await.ends_with(b"end"));
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [1, 0, 0, 0]);
}

/// A block with the bytes of a notice in it.
fn around_block() -> Vec<u8> {
    [b"a".to_vec(), credit(1, 1_000)].concat()
}

/// Begins a block, and receives the rest of it after its items.
#[server_protocol(framing = Multiplexed, replies = String, requests = &str)]
async fn around(
    length: usize,
    mut out: Replies<'_, Around>,
    mut more: Requests<'_, Around>,
) -> Result<&'static str, String> {
    let mut block = more.exactly(length);
    let mut received = block.next().await?.unwrap_or_default().to_vec();
    out.send_all(items(RUNNING)).await?;
    while let Some(piece) = block.next().await? {
        received.extend_from_slice(piece);
    }
    if received == around_block() {
        Ok("end")
    } else {
        Err(received.escape_ascii().to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn block_with_the_bytes_of_credit_is_a_block() {
    for gives_credit in [false, true] {
        let server = ConcurrentServer::new(Around).write_timeout(Duration::from_secs(10));
        let (mut peer, serving) = serve_in_memory(server, PIPE);
        let block = around_block();
        let (first, rest) = block.split_at(1);
        peer.send([&message_of(1, block.len().to_string())[..], first].concat())
            .await;
        // The function has the first byte then, and waits for credit with the others.
        hear_items(&mut peer, FIRST_ITEMS - 64).await;
        peer.send(rest).await;
        if gives_credit {
            peer.send(credit(1, 300)).await;
        }
        let (_, end) = hear_rest(&mut peer).await;
        match end {
            End(1) => assert!(gives_credit, "a block gives credit"),
            Rejection(1, code::TIMED_OUT, _) => assert!(!gives_credit, "it is not found"),
            end => panic!("{end:?}"),
        }
        drop(peer);
        let report = patiently(serving).await.expect("no panic");
        let answered = u64::from(gives_credit);
        assert_eq!(outcomes(&report), [answered, 1 - answered, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beside_a_stream_without_credit_are_bounded() {
    // It has room for the items, and for some answers.
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Alone), 300 << 10);
    peer.send([message_of(1, RUNNING), large_call(2)].concat())
        .await;
    let requests: Vec<_> = (3..100_000).flat_map(|id| message_of(id, "0")).collect();
    let sent = timeout(Duration::from_secs(9), peer.send(requests)).await;
    assert!(sent.is_err(), "a peer that does not read must wait");
}

/// Sends as many items as the request says, or replies with as many bytes.
#[server_protocol(framing = Multiplexed, replies = String, concurrent = 2)]
async fn two(request: &str, mut out: Replies<'_, Two>) -> Result<String, String> {
    if let Some(length) = request.strip_prefix("reply ") {
        return Ok("r".repeat(length.parse().expect("a number")));
    }
    out.send_all(items(request)).await?;
    Ok("end".to_owned())
}

#[tokio::test(start_paused = true)]
async fn stream_without_credit_keeps_no_connection_whose_peer_does_not_read() {
    for stream in [RUNNING, RETURNED] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Two), 300 << 10);
        let start = Instant::now();
        peer.send(message_of(1, stream)).await;
        hear_items(&mut peer, FIRST_ITEMS).await;
        peer.send(message_of(2, "reply 1000000")).await;
        patiently(serving).await.expect("no panic");
        // The limits of the stream and of the reply are both `write_timeout`.
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(70), "{stream}: {elapsed:?}");
    }
}
