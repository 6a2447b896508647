//! Requests with ids that are processed one after the other, and what shared sessions make of that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::Multiplexed,
    protocol::{Context, Push, Receives, Replies, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    RawPeer, code,
    ids::{
        kind::{CREDIT, ITEMS},
        message_of,
    },
    patiently, serve_in_memory, within,
};
use tokio::time::timeout;

use crate::{
    concurrent::{Gates, outcomes},
    multiplexed::{Chunks, Frame, hear, hear_rejection, notice},
};

#[derive(Default)]
struct Count(usize);

/// It has a session of its own, so its requests are processed one after the other.
#[server_protocol(framing = Multiplexed, replies = &str, push = &str)]
async fn sequential(
    name: &str,
    #[state] gates: &Gates,
    #[session] count: &mut Count,
    push: Push<Sequential>,
    mut out: Replies<'_, Sequential>,
) -> Result<String, String> {
    count.0 += 1;
    if count.0 == 1 {
        push.try_send("an event")
            .map_err(|error| error.to_string())?;
        gates.of("push").pass().await;
        return Ok("pushing".to_owned());
    }
    out.send("item").await?;
    gates.of(name).pass().await;
    Ok(name.to_owned())
}

#[tokio::test]
async fn replies_in_sequence_have_their_ids_beside_events() {
    assert_eq!(Sequential::CONCURRENT, None);
    let gates = Gates::default();
    let server = ConcurrentServer::new(Sequential::new(gates.clone()));
    let (mut peer, _serving) = serve_in_memory(server, 1 << 14);
    peer.send([message_of(5, "a"), message_of(6, "b")].concat())
        .await;
    gates.reached(&["push"]).await;
    gates.open("push");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(5, "pushing"));
    let mut heard = Vec::new();
    for _ in 0..4 {
        let Frame(id, kind, text) = within(hear(&mut peer)).await;
        heard.push((id, kind, text.len()));
    }
    heard.sort_unstable();
    assert_eq!(
        heard,
        [
            (0, None, 8),
            (0, Some(0x82), 4),
            (6, None, 4),
            (6, Some(ITEMS), 4)
        ]
    );
    gates.open("b");
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(6, "b"));
}

/// As many items of 1,024 bytes with their cost as each request says, in sequence.
#[server_protocol(framing = Multiplexed, replies = &str)]
async fn long(
    number: usize,
    #[session] _count: &mut Count,
    mut out: Replies<'_, Long>,
) -> Result<&'static str, String> {
    out.send_all(std::iter::repeat_n("i".repeat(1_016).as_str(), number))
        .await?;
    Ok("end")
}

/// Receives items until none comes within a second. Returns how many, and the reply if there was one.
async fn receive_items(peer: &mut RawPeer) -> (usize, Option<Frame>) {
    let mut items = 0;
    while let Ok(Frame(id, kind, text)) = timeout(Duration::from_secs(1), hear(peer)).await {
        match (kind, text.len()) {
            (Some(ITEMS), _) => {}
            (None, 1_016) => items += 1,
            _ => return (items, Some(Frame(id, kind, text))),
        }
    }
    (items, None)
}

#[tokio::test(start_paused = true)]
async fn stream_in_sequence_waits_for_credit() {
    let server = ConcurrentServer::new(Long);
    let (mut peer, serving) = serve_in_memory(server, 1 << 14);
    // The second one is sent before the credit of the first.
    peer.send([message_of(5, "600"), message_of(6, "300")].concat())
        .await;
    let (first, reply) = receive_items(&mut peer).await;
    assert!((128..=256).contains(&first) && reply.is_none(), "{first}");
    let mut total = first;
    // Credit of others is not for this one.
    for (id, is_given) in [(7, false), (5, true), (8, false)] {
        peer.send(notice(id, CREDIT, Some(128 * 1_024))).await;
        let (more, reply) = receive_items(&mut peer).await;
        total += more;
        assert_eq!((more > 0, reply), (is_given, None));
        assert!(total <= 256 + 128, "{total}");
    }
    peer.send(notice(5, CREDIT, Some(1 << 20))).await;
    let (rest, reply) = receive_items(&mut peer).await;
    assert_eq!((total + rest, reply), (600, Some(Frame::reply(5, "end"))));
    // The next stream begins with a credit of its own.
    let (next, reply) = receive_items(&mut peer).await;
    assert_eq!((next, reply), (first, None));
    peer.send(notice(6, CREDIT, Some(1 << 20))).await;
    let (rest, reply) = receive_items(&mut peer).await;
    assert_eq!((next + rest, reply), (300, Some(Frame::reply(6, "end"))));
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(outcomes(&report), [2, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn stream_in_sequence_that_gets_no_credit_times_out() {
    let server = ConcurrentServer::new(Long).request_timeout(Duration::from_secs(10));
    let (mut peer, _serving) = serve_in_memory(server, 1 << 14);
    peer.send(message_of(5, "600")).await;
    let (_, reply) = receive_items(&mut peer).await;
    assert_eq!(reply, None);
    let rejection = patiently(hear_rejection(&mut peer)).await;
    assert_eq!(rejection, (5, code::TIMED_OUT));
}

#[tokio::test]
async fn chunks_have_the_id_of_their_request() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Chunks), 1 << 14);
    let announced = notice(9, 0x83, Some(1));
    peer.send(
        [
            message_of(9, "a"),
            announced,
            message_of(9, "chunk"),
            message_of(10, "b"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(
        within(hear(&mut peer)).await,
        Frame::reply(9, "Some(\"chunk\")")
    );
    peer.finish().await;
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(10, "None"));
}

/// Its session is not shared.
struct Unshared;

impl ServerProtocol for Unshared {
    type Framing = Multiplexed;
    type Format = Plain;
    type Session = usize;
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    fn open_session(&self, _info: &ConnectionInfo) -> usize {
        0
    }

    async fn process_request(
        &self,
        context: Context<'_, usize>,
        request: &str,
    ) -> Result<String, Rejection> {
        *context.session += 1;
        tokio::task::yield_now().await;
        assert_ne!(request, "panic", "on purpose");
        Ok(context.session.to_string())
    }
}

#[tokio::test]
async fn session_that_is_not_shared_keeps_requests_in_sequence() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Unshared), 1 << 14);
    let requests = [
        message_of(1, "a"),
        message_of(2, "b"),
        message_of(3, "panic"),
    ];
    peer.send(requests.concat()).await;
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(1, "1"));
    assert_eq!(within(hear(&mut peer)).await, Frame::reply(2, "2"));
    assert_eq!(within(hear_rejection(&mut peer)).await, (3, code::FAILED));
    let closing = within(hear_rejection(&mut peer)).await;
    assert_eq!(closing, (0, code::GOING_AWAY));
}

/// Its session is shared until a request says "alone".
struct Sometimes;

impl ServerProtocol for Sometimes {
    type Framing = Multiplexed;
    type Format = Plain;
    type Session = Arc<AtomicBool>;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    fn open_session(&self, _info: &ConnectionInfo) -> Self::Session {
        Arc::default()
    }

    fn share_session(session: &Self::Session) -> Option<Self::Session> {
        (!session.load(Ordering::Relaxed)).then(|| Arc::clone(session))
    }

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, Self::Session>,
        request: &'a str,
    ) -> Result<&'a str, Rejection> {
        assert_ne!(request, "panic", "on purpose");
        let is_alone = request == "alone";
        context.session.fetch_or(is_alone, Ordering::Relaxed);
        Ok("done")
    }
}

#[tokio::test]
async fn panic_is_answered_when_the_session_is_no_longer_shared() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Sometimes), 1 << 14);
    for (id, request) in [(1, "share"), (2, "alone"), (3, "in sequence")] {
        peer.send(message_of(id, request)).await;
        assert_eq!(within(hear(&mut peer)).await, Frame::reply(id, "done"));
    }
    peer.send(message_of(4, "panic")).await;
    assert_eq!(within(hear_rejection(&mut peer)).await, (4, code::FAILED));
    let closing = within(hear_rejection(&mut peer)).await;
    assert_eq!(closing, (0, code::GOING_AWAY));
}

/// Asks for chunks, although its requests are processed at the same time.
struct Asking;

impl Receives for Asking {
    type Format = Plain;
    type Chunk<'a> = &'a str;
}

impl ServerProtocol for Asking {
    type Framing = Multiplexed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        context: Context<'_, ()>,
        _request: &str,
    ) -> Result<String, Rejection> {
        let mut more = context.info.requests::<Self>();
        let received = more.next().await;
        Ok(received.map_or_else(|error| error.to_string(), |chunk| format!("{chunk:?}")))
    }
}

#[tokio::test]
async fn chunks_are_refused_beside_other_requests() {
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Asking), 1 << 14);
    peer.send([message_of(1, "a"), message_of(2, "b")].concat())
        .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let Frame(id, kind, text) = within(hear(&mut peer)).await;
        assert_eq!(kind, None);
        ids.push(id);
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("processed at the same time"), "{text}");
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}
