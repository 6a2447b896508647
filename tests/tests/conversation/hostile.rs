//! Peers that misuse conversations: their connections end, or go on, and nothing grows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer,
    framing::{LengthPrefixed, Lines},
    protocol::{Replies, Requests},
    server_protocol,
};
use tcs_tests::{
    Kind, Over, SyncFn, control, each_kind, ended_between, frame, patiently, serve_in_memory,
    start_over, within,
};
use tokio::{
    spawn,
    task::yield_now,
    time::{Instant, sleep},
};

use crate::hub::{expect, hear, shared};

each_kind!(chunks_for_a_function_that_takes_none_are_skipped);

fn notice(kind: u8, count: u32) -> Vec<u8> {
    [&[0x80, 0, 0, 5, kind][..], &count.to_be_bytes()].concat()
}

async fn chunks_for_a_function_that_takes_none_are_skipped<K: Kind>() {
    let server = shared().server::<K, LengthPrefixed>();
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    let chunks = frame("chunk").repeat(5_000);
    let sent = [
        // An end without a beginning, before any request and after one.
        control(0x84, "").repeat(1_000),
        frame("one"),
        control(0x84, "").repeat(1_000),
        // Four billion, of which some come. A later announcement replaces what is left of it.
        notice(0x83, u32::MAX),
        chunks.clone(),
        notice(0x83, u32::MAX).repeat(1_000),
        chunks,
        notice(0x83, 1),
        frame("chunk"),
        frame("two"),
        notice(0x83, 0),
        frame("three"),
    ];
    let expected = ["one", "two", "three"].map(frame).concat();
    assert_eq!(
        within(peer.send_and_receive(sent.concat(), expected.len())).await,
        expected
    );
    drop(peer);
    let requests = within(serving).await.expect("no panic").requests;
    assert_eq!((requests.received, requests.served), (3, 3));
}

/// Takes a block of any length, as many pieces as the request says, or two blocks.
#[server_protocol(framing = Lines, reject_with = said, requests = &str)]
async fn swallow(request: &str, mut more: Requests<'_, Swallow>) -> Result<String, String> {
    let mut body = more.exactly(usize::MAX);
    match request {
        "all" => while body.next().await?.is_some() {},
        "panic" => panic!("on purpose"),
        "twice" => {
            body.next().await?;
            drop(body);
            drop(more.exactly(usize::MAX));
            return match more.next().await {
                Ok(next) => Ok(format!("{next:?}")),
                Err(error) => Err(error.to_string()),
            };
        }
        _ => {}
    }
    Ok(format!("left {}", body.rest() > 0))
}

fn said(rejection: &tcs::Rejection) -> String {
    rejection.text().to_owned()
}

#[tokio::test]
async fn block_of_any_length_is_all_that_comes() {
    let ended = "a chunk of the request: the connection ended in the middle of a frame\n";
    for (request, reply) in [
        ("none", "left true\n"),
        ("all", ended),
        ("panic", "the function panicked\n"),
        ("twice", ended),
    ] {
        let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Swallow), 1 << 10);
        within(peer.send(format!("{request}\n"))).await;
        within(peer.send(b"more\n".repeat(50_000))).await;
        within(peer.finish()).await;
        let heard = within(peer.rest()).await;
        assert_eq!(String::from_utf8_lossy(&heard), reply, "{request}");
        let requests = within(serving).await.expect("no panic").requests;
        assert_eq!(requests.received, 1, "{request}");
    }
}

/// Sends the request as an item again and again.
#[server_protocol(framing = Lines, replies = &str)]
async fn repeat(
    item: &str,
    #[state] sent: &Arc<AtomicUsize>,
    mut out: Replies<'_, Repeat>,
) -> Result<(), String> {
    for _ in 0..1_000_000 {
        out.send(item).await?;
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_a_byte_a_second_is_given_up() {
    let write = Duration::from_secs(10);
    // Items without bytes wait as well.
    for item in ["", "item"] {
        let sent = Arc::new(AtomicUsize::new(0));
        let server = ConcurrentServer::new(Repeat::new(Arc::clone(&sent))).write_timeout(write);
        let (mut peer, serving) = serve_in_memory(server, 64);
        patiently(peer.send(format!("{item}\n"))).await;
        let began = Instant::now();
        let reading = spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                if peer.receive_up_to(1).await.is_empty() {
                    break;
                }
            }
        });
        let requests = patiently(serving).await.expect("no panic").requests;
        ended_between(began, write, write + Duration::from_secs(1));
        assert_eq!((requests.received, requests.aborted), (1, 1));
        let count = sent.load(Ordering::Relaxed);
        assert!(count < 300_000, "{count} items of {item:?}");
        assert_eq!(Arc::strong_count(&sent), 1);
        patiently(reading).await.expect("no panic");
    }
}

#[tokio::test]
async fn half_of_a_large_group_may_die() {
    const HALF: usize = 500;
    let shared = shared();
    let server = shared.server::<SyncFn, Lines>().max_connections(4 * HALF);
    let server = start_over(Over::Memory, server).await;
    let mut peers = Vec::new();
    for _ in 0..2 * HALF {
        let mut peer = server.peer().await;
        expect(&mut peer, b"join\n", b"true\n").await;
        peers.push(peer);
    }
    let mut number = 0;
    peers.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    let mut queued = 0;
    let gone = async {
        loop {
            let sent = shared.room.send("news").expect("it fits");
            queued += sent;
            if sent == HALF {
                break;
            }
            for peer in &mut peers {
                hear(peer, b"news\n").await;
            }
            yield_now().await;
        }
    };
    within(gone).await;
    assert_eq!(shared.room.len(), HALF);
    server.handle().stop();
    for peer in &mut peers {
        assert_eq!(within(peer.rest()).await, b"news\n");
    }
    let events = within(server.finished()).await.events;
    assert_eq!(events.sent + events.dropped, queued as u64);
    assert!(shared.room.is_empty());
}

#[tokio::test]
async fn drain_sends_all_events_of_a_peer_that_begins_to_read() {
    const EVENTS: usize = 400;
    let shared = shared();
    let server = shared.server::<SyncFn, LengthPrefixed>();
    let server = start_over(Over::Memory, server.max_push_queue(1 << 20)).await;
    let mut peer = server.peer().await;
    expect(&mut peer, &frame("join"), &frame("true")).await;
    // More than the pipe and the write buffer have room for.
    let event = "x".repeat(1_000);
    for _ in 0..EVENTS {
        assert_eq!(shared.room.send(&event).expect("it fits"), 1);
        yield_now().await;
    }
    server.handle().stop();
    // It takes no more, as soon as the peer reads.
    let first = within(peer.receive(128 << 10)).await;
    let closed = async {
        while !shared.room.is_empty() {
            yield_now().await;
        }
    };
    within(closed).await;
    let heard = [first, within(peer.rest()).await].concat();
    let received = heard
        .windows(4)
        .filter(|bytes| **bytes == 1_000_u32.to_be_bytes());
    assert_eq!(received.count(), EVENTS);
    let events = within(server.finished()).await.events;
    assert_eq!((events.sent, events.dropped), (EVENTS as u64, 0));
}
