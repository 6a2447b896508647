//! Requests with ids, and streamed replies of requests that are processed at the same time.

use std::time::Duration;

use tcs::{
    ConcurrentServer,
    framing::{LengthPrefixed, Multiplexed},
    protocol::{Concurrency, Draining, Replies, Requests, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Over, RawPeer, code,
    ids::{
        control_of,
        kind::{CANCEL, CANCELLED, CREDIT, DEADLINE, ITEMS, PARTS},
        message_of, receive_frame,
    },
    patiently, serve_in_memory, start_over, within,
};
use tokio::time::{Instant, sleep, timeout};

use crate::concurrent::{Gates, outcomes};

/// Does as the request says: the first word is what, the second is the name of a gate or a number.
#[server_protocol(framing = Multiplexed, replies = &str)]
async fn desk(
    request: &str,
    #[state] gates: &Gates,
    draining: Draining<'_>,
    mut out: Replies<'_, Desk>,
) -> Result<String, String> {
    // It is held until the function ends.
    let gates = gates.clone();
    let (what, name) = request.split_once(' ').unwrap_or((request, ""));
    let number = || name.parse::<usize>().unwrap_or_default();
    match what {
        "wait" => gates.of(name).pass().await,
        "drain" => {
            let gate = gates.of(name);
            tokio::select! {
                biased;
                () = gate.pass() => {}
                () = draining.into_future() => {}
            }
        }
        "large" => return Ok("x".repeat(number())),
        "items" => {
            for _ in 0..number() {
                out.send(&"i".repeat(1_016)).await?;
            }
            gates.of("sent").pass().await;
        }
        "panic" => {
            out.send("lost").await?;
            panic!("on purpose");
        }
        _ => {}
    }
    Ok(name.to_owned())
}

/// The same in order, without ids.
#[server_protocol(framing = LengthPrefixed, replies = &str, concurrent = 4)]
async fn ordered(
    name: &str,
    #[state] gates: &Gates,
    mut out: Replies<'_, Ordered>,
) -> Result<String, String> {
    for number in 0..3 {
        out.send(&format!("{name}{number}")).await?;
    }
    gates.of(name).pass().await;
    out.send(&format!("{name} last")).await?;
    Ok(name.to_owned())
}

/// Takes chunks, which requests that are processed at the same time do not have.
#[server_protocol(framing = Multiplexed, requests = &str)]
pub(crate) async fn chunks(_: &str, mut more: Requests<'_, Chunks>) -> String {
    match more.next().await {
        Ok(chunk) => format!("{chunk:?}"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn notice(id: u32, kind: u8, number: Option<u32>) -> Vec<u8> {
    let text = number.map(u32::to_be_bytes);
    control_of(id, kind, text.as_ref().map_or(&[][..], |text| text))
}

/// A frame: its id, its kind if it is a control frame, and its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) u32, pub(crate) Option<u8>, pub(crate) Vec<u8>);

impl Frame {
    pub(crate) fn reply(id: u32, text: &str) -> Self {
        Self(id, None, text.as_bytes().to_vec())
    }
}

pub(crate) async fn hear(peer: &mut RawPeer) -> Frame {
    let (id, kind, text) = receive_frame(peer).await;
    Frame(id, kind, text)
}

pub(crate) async fn hear_rejection(peer: &mut RawPeer) -> (u32, u8) {
    match hear(peer).await {
        Frame(id, Some(kind), _) => (id, kind),
        other => panic!("{other:?}"),
    }
}

fn server(gates: &Gates) -> ConcurrentServer<Desk> {
    ConcurrentServer::new(Desk::new(gates.clone()))
}

#[test]
fn waiting_functions_with_ids_are_concurrent() {
    assert_eq!(Desk::CONCURRENT, Some(Concurrency::unordered(128)));
    assert_eq!(Chunks::CONCURRENT, None);
}

#[tokio::test]
async fn replies_have_the_ids_of_their_requests() {
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(server(&gates), 1 << 16);
    peer.send([message_of(7, "wait a"), message_of(300, "wait b")].concat())
        .await;
    gates.reached(&["a", "b"]).await;
    gates.open("b");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(300, "b"));
    peer.send(message_of(300, "now c")).await;
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(300, "c"));
    gates.open("a");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(7, "a"));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 0, 0, 0]);
}

#[tokio::test]
async fn cancelled_request_is_answered_once_and_its_function_is_dropped() {
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(server(&gates), 1 << 16);
    peer.send([message_of(1, "wait a"), message_of(2, "wait b")].concat())
        .await;
    gates.reached(&["a", "b"]).await;
    // The second time, and for an id that was never used, it is ignored.
    let cancels = [1, 1, 99].map(|id| notice(id, CANCEL, None));
    peer.send(cancels.concat()).await;
    assert_eq!(within(hear_rejection(&mut peer)).await, (1, CANCELLED));
    // The test, the protocol, and the other function.
    assert_eq!(gates.functions(), 3);
    gates.open("b");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(2, "b"));
    // The id can be used again.
    peer.send(message_of(1, "now c")).await;
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(1, "c"));
    drop(peer);
    within(serving).await.expect("no panic");
}

#[tokio::test]
async fn notices_behind_requests_beyond_the_limit_are_seen() {
    let gates = Gates::default();
    let (mut peer, _serving) = serve_in_memory(server(&gates), 1 << 16);
    for id in 1..=130 {
        peer.send(message_of(id, format!("wait {id}"))).await;
    }
    gates.reached(&["1", "128"]).await;
    // One that waits for a place, and one that runs and gives its place to the last.
    peer.send([notice(129, CANCEL, None), notice(5, CANCEL, None)].concat())
        .await;
    for id in [129, 5] {
        assert_eq!(within(hear_rejection(&mut peer)).await, (id, CANCELLED));
    }
    gates.reached(&["130"]).await;
    assert!(!gates.of("129").was_reached());
    gates.open("130");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(130, "130"));
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_client_ends_its_request() {
    let gates = Gates::default();
    let (mut peer, _serving) = serve_in_memory(server(&gates), 1 << 16);
    let began = Instant::now();
    // Its request comes later.
    peer.send(notice(1, DEADLINE, Some(5_000))).await;
    sleep(Duration::from_millis(10)).await;
    peer.send([message_of(1, "wait a"), message_of(2, "wait b")].concat())
        .await;
    assert_eq!(
        patiently(hear_rejection(&mut peer)).await,
        (1, code::TIMED_OUT)
    );
    let took = began.elapsed();
    assert!(
        Duration::from_secs(5) <= took && took < Duration::from_secs(6),
        "{took:?}"
    );
    gates.open("b");
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(2, "b"));
    assert_eq!(gates.functions(), 2);
}

#[tokio::test(start_paused = true)]
async fn deadline_is_that_of_the_request_right_behind_it() {
    let gates = Gates::default();
    let (mut peer, _serving) = serve_in_memory(server(&gates), 1 << 16);
    let requests = [
        notice(1, DEADLINE, Some(1_000)),
        message_of(2, "wait b"),
        message_of(1, "wait a"),
        notice(3, DEADLINE, Some(1_000)),
        notice(3, CREDIT, Some(1)),
        message_of(3, "wait c"),
    ];
    peer.send(requests.concat()).await;
    sleep(Duration::from_secs(5)).await;
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        gates.open(name);
        assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(id, name));
    }
    // That of one request is not that of the next with its id.
    peer.send([notice(1, DEADLINE, Some(1_000)), message_of(1, "now d")].concat())
        .await;
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(1, "d"));
    peer.send(message_of(1, "wait e")).await;
    sleep(Duration::from_secs(5)).await;
    gates.open("e");
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(1, "e"));
}

/// Waits at the gate that the first letter names.
#[server_protocol(framing = Multiplexed)]
async fn padded(request: &str, #[state] gates: &Gates) -> String {
    let name = request.get(..1).unwrap_or_default();
    gates.of(name).pass().await;
    name.to_owned()
}

#[tokio::test(start_paused = true)]
async fn large_requests_in_flight_are_within_the_memory_budget() {
    const LENGTH: usize = 1_500_000;
    let gates = Gates::default();
    let server = ConcurrentServer::new(Padded::new(gates.clone())).memory_budget(4 << 20);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 16);
    let sending = async {
        for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
            peer.send(message_of(id, name.repeat(LENGTH))).await;
        }
    };
    // The third waits for memory.
    let timed_out = timeout(Duration::from_secs(1), sending).await;
    assert!(timed_out.is_err());
    assert!(gates.of("a").was_reached() && gates.of("b").was_reached());
    gates.open("a");
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(1, "a"));
}

#[tokio::test(start_paused = true)]
async fn large_request_beside_others_is_received_when_memory_is_free() {
    const LENGTH: usize = 1_500_000;
    let gates = Gates::default();
    let server = ConcurrentServer::new(Padded::new(gates.clone())).memory_budget(2 << 20);
    let server = start_over(Over::Memory, server).await;
    let mut other = server.peer().await;
    other.send(message_of(1, "b".repeat(LENGTH))).await;
    gates.reached(&["b"]).await;
    let mut peer = server.peer().await;
    peer.send(message_of(1, "a")).await;
    gates.reached(&["a"]).await;
    let mut sending = Box::pin(peer.send(message_of(2, "c".repeat(LENGTH))));
    let timed_out = timeout(Duration::from_secs(9), &mut sending).await;
    assert!(timed_out.is_err() && !gates.of("c").was_reached());
    gates.open("b");
    patiently(sending).await;
    patiently(gates.of("c").reached()).await;
    gates.open("c");
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(2, "c"));
    gates.open("a");
    assert_eq!(patiently(hear(&mut peer)).await, Frame::reply(1, "a"));
}

#[tokio::test]
async fn request_may_be_as_large_as_the_memory_budget() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Padded::new(gates.clone())).memory_budget(1 << 20);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 16);
    for (id, name) in [(1, "a"), (2, "b")] {
        gates.open(name);
        peer.send(message_of(id, name.repeat((1 << 20) - 8))).await;
        assert_eq!(within(hear(&mut peer)).await, Frame::reply(id, name));
    }
}

#[tokio::test]
async fn large_reply_without_memory_has_failed() {
    const LENGTH: usize = 900_000;
    let gates = Gates::default();
    let server = server(&gates).memory_budget(1 << 20);
    let (mut peer, serving) = serve_in_memory(server, 1 << 14);
    let requests = [1, 2].map(|id| message_of(id, format!("large {LENGTH}")));
    peer.send(requests.concat()).await;
    let (mut length, mut is_rejected) = (0, false);
    while length < LENGTH || !is_rejected {
        match within(hear(&mut peer)).await {
            Frame(1, None, part) => length += part.len(),
            Frame(1, Some(PARTS), _) => {}
            Frame(2, Some(code::FAILED), _) => is_rejected = true,
            other => panic!("{:?} of {}", other.1, other.0),
        }
    }
    // What the first had can be used again.
    peer.send(message_of(3, format!("large {LENGTH}"))).await;
    let mut length = 0;
    while length < LENGTH {
        let Frame(id, kind, part) = within(hear(&mut peer)).await;
        assert_eq!(id, 3);
        length += if kind.is_none() { part.len() } else { 0 };
    }
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 1, 0, 0]);
}

/// Counts the items that come before a frame of another kind, which it returns.
async fn count_items(peer: &mut RawPeer, id: u32) -> (usize, Frame) {
    let (mut items, mut announced) = (0, 0);
    loop {
        match hear(peer).await {
            Frame(of, Some(ITEMS), count) if of == id => {
                assert_eq!(announced, 0, "all that were announced have come");
                announced = u32::from_be_bytes(count.try_into().expect("four"));
            }
            Frame(of, None, item) if of == id && announced > 0 => {
                assert_eq!(item.len(), 1_016);
                announced -= 1;
                items += 1;
            }
            other => return (items, other),
        }
    }
}

#[tokio::test]
async fn stream_without_credit_waits_and_holds_up_nothing() {
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(server(&gates), 1 << 20);
    peer.send(message_of(1, "items 400")).await;
    // Each item costs 1,024 bytes, so the 256 KiB at the start are 256 items.
    peer.send(message_of(2, "wait a")).await;
    gates.reached(&["a"]).await;
    let reading = async {
        let mut items = 0;
        while items < 256 {
            let Frame(id, kind, _) = hear(&mut peer).await;
            assert_eq!(id, 1);
            items += usize::from(kind.is_none());
        }
    };
    within(reading).await;
    gates.open("a");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(2, "a"));
    peer.send(notice(1, CREDIT, Some(10 * 1_024))).await;
    peer.send(message_of(3, "now b")).await;
    let mut items = 0;
    let mut replies = 0;
    while items < 10 || replies < 1 {
        match within(hear(&mut peer)).await {
            Frame(1, None, _) => items += 1,
            Frame(3, None, _) => replies += 1,
            Frame(1, Some(ITEMS), _) => {}
            other => panic!("{other:?}"),
        }
    }
    peer.send(notice(1, CREDIT, Some(1 << 20))).await;
    gates.open("sent");
    let (items, reply) = within(count_items(&mut peer, 1)).await;
    assert_eq!((items, reply), (134, Frame::reply(1, "400")));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [3, 0, 0, 0]);
}

/// Receives as many items as the first credit allows.
async fn receive_credit(peer: &mut RawPeer) {
    let mut items = 0;
    while items < 256 {
        let Frame(id, kind, _) = within(hear(peer)).await;
        assert_eq!(id, 1);
        items += usize::from(kind.is_none());
    }
}

#[tokio::test]
async fn no_request_starts_in_a_drain_while_a_stream_waits_for_credit() {
    let gates = Gates::default();
    let server = start_over(Over::Memory, server(&gates)).await;
    let mut peer = server.peer().await;
    peer.send(message_of(1, "items 300")).await;
    receive_credit(&mut peer).await;
    peer.send(message_of(3, "drain d")).await;
    gates.reached(&["d"]).await;
    server.handle().stop();
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(3, "d"));
    peer.send([message_of(2, "now a"), notice(1, CREDIT, Some(1 << 20))].concat())
        .await;
    gates.open("sent");
    let (items, refused) = within(count_items(&mut peer, 1)).await;
    assert_eq!((items, refused.0, refused.1), (0, 2, Some(code::BUSY)));
    let (items, reply) = within(count_items(&mut peer, 1)).await;
    assert_eq!((items, reply), (44, Frame::reply(1, "300")));
    assert_eq!(
        within(hear_rejection(&mut peer)).await,
        (0, code::GOING_AWAY)
    );
    let report = within(server.finished()).await;
    assert_eq!(outcomes(&report), [2, 0, 1, 0]);
}

#[tokio::test]
async fn abort_fails_only_requests_beside_a_bad_frame() {
    let gates = Gates::default();
    let server = server(&gates).drain_timeout(Duration::ZERO);
    let server = start_over(Over::Memory, server).await;
    let mut peer = server.peer().await;
    // A control frame that clients do not send.
    let requests = [message_of(1, "wait a"), control_of(2, code::FAILED, "")];
    peer.send(requests.concat()).await;
    gates.reached(&["a"]).await;
    server.handle().stop();
    assert_eq!(within(hear_rejection(&mut peer)).await, (1, code::FAILED));
    let closing = within(hear_rejection(&mut peer)).await;
    assert_eq!(closing, (0, code::GOING_AWAY));
    assert!(within(peer.rest()).await.is_empty());
}

#[tokio::test]
async fn last_request_of_a_connection_gets_its_credit() {
    let gates = Gates::default();
    let server = server(&gates).max_requests_per_connection(1);
    let (mut peer, _serving) = serve_in_memory(server, 1 << 20);
    peer.send(message_of(1, "items 300")).await;
    receive_credit(&mut peer).await;
    peer.send([notice(1, CREDIT, Some(1 << 20)), message_of(2, "now a")].concat())
        .await;
    gates.open("sent");
    let (items, reply) = within(count_items(&mut peer, 1)).await;
    assert_eq!((items, reply), (44, Frame::reply(1, "300")));
    assert_eq!(
        within(hear_rejection(&mut peer)).await,
        (0, code::GOING_AWAY)
    );
}

#[tokio::test]
async fn cancelled_stream_ends_also_without_credit() {
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(server(&gates), 1 << 20);
    peer.send(message_of(1, "items 300")).await;
    gates.open("sent");
    gates.reached(&["sent"]).await;
    peer.send(notice(1, CANCEL, None)).await;
    let (items, end) = within(count_items(&mut peer, 1)).await;
    assert!(items <= 256, "{items}");
    assert_eq!((end.0, end.1), (1, Some(CANCELLED)));
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [0, 1, 0, 0]);
}

#[tokio::test]
async fn large_reply_is_sent_in_parts_between_which_others_are_sent() {
    const LENGTH: usize = 1 << 20;
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(server(&gates), 1 << 14);
    peer.send(message_of(1, format!("large {LENGTH}"))).await;
    let first = within(hear(&mut peer)).await;
    assert_eq!(first, Frame(1, Some(PARTS), vec![0, 0, 0, 1]));
    peer.send(message_of(2, "now a")).await;
    let (mut length, mut before) = (0, None);
    let mut is_part = true;
    loop {
        match within(hear(&mut peer)).await {
            Frame(1, Some(PARTS), _) => is_part = true,
            Frame(1, None, part) => {
                assert!(part.len() <= 1 << 16);
                length += part.len();
                if !std::mem::take(&mut is_part) {
                    break;
                }
            }
            Frame(2, None, _) => before = Some(length),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(length, LENGTH);
    assert!(before.is_some_and(|before| before < LENGTH), "{before:?}");
    drop(peer);
    let report = within(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 0, 0, 0]);
}

#[tokio::test]
async fn items_of_a_function_that_panics_are_dropped() {
    let gates = Gates::default();
    let (mut peer, _serving) = serve_in_memory(server(&gates), 1 << 14);
    peer.send(message_of(1, "panic")).await;
    assert_eq!(within(hear_rejection(&mut peer)).await, (1, code::FAILED));
    peer.send(message_of(2, "now a")).await;
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(2, "a"));
}

#[tokio::test]
async fn items_without_ids_come_directly_before_their_replies() {
    let gates = Gates::default();
    let server = ConcurrentServer::new(Ordered::new(gates.clone()));
    let (mut peer, serving) = serve_in_memory(server, 1 << 14);
    peer.send(b"\0\0\0\x01a\0\0\0\x01b").await;
    gates.reached(&["a", "b"]).await;
    gates.open("b");
    gates.open("a");
    peer.finish().await;
    let heard = within(peer.rest()).await;
    let mut messages = Vec::new();
    let mut rest = heard.as_slice();
    while let Some((header, after)) = rest.split_first_chunk() {
        let header = u32::from_be_bytes(*header);
        let (message, after) = after.split_at((header & 0xffff) as usize);
        if header >> 31 == 0 {
            messages.push(String::from_utf8_lossy(message).into_owned());
        }
        rest = after;
    }
    let expected = [
        "a0", "a1", "a2", "a last", "a", "b0", "b1", "b2", "b last", "b",
    ];
    assert_eq!(messages, expected);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}
