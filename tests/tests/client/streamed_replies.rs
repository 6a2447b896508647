//! Streamed replies on a `Connection`.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Error, ErrorKind, Execution, RejectionKind,
    client::{ConnectOptions, Items},
    format::Plain,
    framing::{LengthPrefixed, Lines},
    protocol::{Contract, Replies, Streams},
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, chain, hears, items, told},
    code, control, frame, memory, patiently,
    pipeline::{failure, receive, send},
    script::{expects, play, sends},
    start, within,
};
use tokio::time::{Instant, advance, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// The notice that a streamed reply is no longer wanted.
const CANCEL: [u8; 5] = [0x80, 0, 0, 1, 0x87];

type Texts<'c> = Items<'c, Prefixed>;

async fn opened(connection: &mut Connection<LengthPrefixed>) -> Texts<'_> {
    let stream = within(connection.stream::<Prefixed>("go")).await;
    stream.expect("it is open")
}

async fn next(stream: &mut Texts<'_>) -> Result<Option<String>, Error> {
    let item = patiently(stream.next()).await?;
    Ok(item.map(str::to_owned))
}

/// Receives this item.
async fn expect_item(stream: &mut Texts<'_>, item: &str) {
    assert_eq!(next(stream).await.expect("an item").as_deref(), Some(item));
}

/// Polls `next` once, which waits, and drops it.
async fn next_waits(stream: &mut Texts<'_>) {
    poll_fn(|cx| {
        assert!(pin!(stream.next()).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn call(connection: &mut Connection<LengthPrefixed>, request: &str) -> String {
    let reply = patiently(connection.call::<Prefixed>(request)).await;
    reply.expect("a reply").to_owned()
}

#[tokio::test]
async fn items_are_lent_until_the_reply() {
    let (mut connection, peer) = memory::connection(1 << 10);
    let server = play(
        peer,
        [
            expects(frame("go")),
            sends([items(&["one", "two"]), items(&[""])].concat()),
            sends([items(&["three"]), frame("the end")].concat()),
            expects(frame("again")),
            sends(frame("yes")),
        ],
    );
    let mut stream = opened(&mut connection).await;
    for item in ["one", "two", "", "three"] {
        expect_item(&mut stream, item).await;
    }
    assert_eq!(next(&mut stream).await.expect("the end"), None);
    assert_eq!(next(&mut stream).await.expect("the end"), None);
    assert_eq!(within(stream.finish()).await.expect("a reply"), "the end");
    assert_eq!(call(&mut connection, "again").await, "yes");
    server.finished().await;
}

#[tokio::test]
async fn stream_that_is_cut_anywhere_ends_with_an_error() {
    let sent = [items(&["one"]), items(&["two", "three"]), frame("end")].concat();
    for cut in 0..sent.len() {
        let (mut connection, mut peer) = memory::connection(1 << 10);
        let mut stream = opened(&mut connection).await;
        peer.send(&sent[..cut]).await;
        drop(peer);
        let error = loop {
            match next(&mut stream).await {
                Ok(item) => assert!(item.is_some(), "{cut}"),
                Err(error) => break error,
            }
        };
        assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
        assert_eq!(next(&mut stream).await.expect("the end"), None);
    }
}

#[tokio::test]
async fn error_after_some_items_is_the_error_of_the_next_one() {
    let (mut connection, peer) = memory::connection(1 << 10);
    let _server = play(
        peer,
        [
            expects(frame("go")),
            sends([items(&["one"]), control(code::ERROR, "no more")].concat()),
            expects(frame("again")),
            sends(frame("yes")),
        ],
    );
    let mut stream = opened(&mut connection).await;
    expect_item(&mut stream, "one").await;
    let error = next(&mut stream).await.expect_err("an error");
    let rejection = error.rejection().expect("a rejection");
    assert_eq!(
        (rejection.kind(), rejection.text()),
        (RejectionKind::Error, "no more")
    );
    assert_eq!(next(&mut stream).await.expect("the end"), None);
    let error = within(stream.finish()).await.expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert_eq!(call(&mut connection, "again").await, "yes");
}

#[tokio::test]
async fn reply_comes_only_after_the_items() {
    let (mut connection, peer) = memory::connection(1 << 10);
    let stream = [items(&["one", "two"]), frame("end")].concat();
    let _server = play(
        peer,
        [
            expects(frame("go")),
            sends(&stream),
            expects([&CANCEL[..], &frame("go")].concat()),
            sends(&stream),
            expects(frame("again")),
            sends(frame("yes")),
        ],
    );
    let stream = opened(&mut connection).await;
    let error = within(stream.finish()).await.expect_err("items are left");
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert!(chain(&error)[1].contains("skip_rest"), "{error:?}");

    // What was left of the first is skipped.
    let mut stream = opened(&mut connection).await;
    expect_item(&mut stream, "one").await;
    assert_eq!(within(stream.skip_rest()).await.expect("items"), 1);
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
    assert_eq!(call(&mut connection, "again").await, "yes");
}

#[tokio::test]
async fn stream_that_is_dropped_is_skipped_by_the_next_use() {
    let stream = [items(&["one", "two"]), items(&["three"]), frame("end")].concat();
    // From the middle of each message on, the rest comes with the next request.
    for cut in 0..=stream.len() {
        let (mut connection, mut peer) = memory::connection(1 << 10);
        let mut dropped = opened(&mut connection).await;
        hears(&mut peer, "go").await;
        peer.send(&stream[..cut]).await;
        if cut >= items(&["one"]).len() {
            expect_item(&mut dropped, "one").await;
        }
        drop(dropped);
        let server = async {
            assert_eq!(within(peer.receive(CANCEL.len())).await, CANCEL);
            hears(&mut peer, "again").await;
            peer.send([&stream[cut..], &frame("yes")].concat()).await;
        };
        let (reply, ()) = tokio::join!(call(&mut connection, "again"), server);
        assert_eq!(reply, "yes", "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_stream_without_end_closes_the_connection_at_the_reply_timeout() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    drop(opened(&mut connection).await);
    let began = Instant::now();
    let server = tokio::spawn(async move {
        while peer.try_send(items(&["more"])).await.is_ok() {
            sleep(SECOND).await;
        }
    });
    let reply = patiently(connection.call::<Prefixed>("again")).await;
    let error = reply.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
    patiently(server).await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn each_item_has_the_reply_timeout_for_itself() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    let mut stream = opened(&mut connection).await;
    for _ in 0..5 {
        next_waits(&mut stream).await;
        advance(9 * SECOND).await;
        peer.send(items(&["late"])).await;
        expect_item(&mut stream, "late").await;
    }
    let began = Instant::now();
    let error = next(&mut stream).await.expect_err("nothing comes");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn deadline_is_for_the_whole_stream() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let stream = connection.deadline(3 * SECOND).stream::<Prefixed>("go");
    let mut stream = within(stream).await.expect("it is open");
    for _ in 0..2 {
        advance(SECOND).await;
        peer.send(items(&["in time"])).await;
        expect_item(&mut stream, "in time").await;
    }
    let began = Instant::now();
    let error = next(&mut stream).await.expect_err("too late");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), SECOND);
    drop(stream);
    peer.send([frame("end"), frame("yes")].concat()).await;
    let stream = connection.deadline(Duration::ZERO).stream::<Prefixed>("go");
    let error = within(stream).await.expect_err("no time");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_a_stream_though_items_are_there() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let stream = connection.deadline(SECOND).stream::<Prefixed>("go");
    let mut stream = within(stream).await.expect("it is open");
    peer.send(items(&["a", "b", "c"])).await;
    expect_item(&mut stream, "a").await;
    advance(SECOND).await;
    let error = next(&mut stream).await.expect_err("too late");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(next(&mut stream).await.expect("it is over"), None);
    drop(stream);
    peer.send([items(&["d"]), frame("end")].concat()).await;
    hears(&mut peer, "go").await;
    let server = async {
        assert_eq!(within(peer.receive(CANCEL.len())).await, CANCEL);
        hears(&mut peer, "again").await;
        peer.send(frame("yes")).await;
    };
    let (reply, ()) = tokio::join!(call(&mut connection, "again"), server);
    assert_eq!(reply, "yes");
}

#[tokio::test]
async fn dropped_wait_loses_no_item() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut stream = opened(&mut connection).await;
    let sent = [items(&["one", "two"]), frame("end")].concat();
    for byte in sent {
        next_waits(&mut stream).await;
        peer.send([byte]).await;
        if let Some(Ok(Some(item))) = tokio::select! {
            biased;
            item = stream.next() => Some(item),
            () = std::future::ready(()) => None,
        } {
            assert!(["one", "two"].contains(&item));
        }
        if matches!(byte, b'd') {
            break;
        }
    }
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
}

#[tokio::test]
async fn items_are_the_error_of_an_ordinary_call_and_reach_no_other() {
    let (mut connection, peer) = memory::connection(1 << 10);
    let _server = play(
        peer,
        [
            expects(frame("call")),
            sends([items(&["one", "two"]), items(&["three"])].concat()),
            expects(frame("again")),
            sends([items(&["four"]), frame("end"), frame("yes")].concat()),
        ],
    );
    let reply = within(connection.call::<Prefixed>("call")).await;
    let error = reply.expect_err("items");
    assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
    assert!(chain(&error)[1].contains("stream of items"), "{error:?}");
    assert_eq!(call(&mut connection, "again").await, "yes");
}

#[tokio::test]
async fn items_are_the_error_of_one_request_of_a_pipeline() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["1", "2", "3"]).await;
    within(pipeline.flush()).await;
    peer.send(
        [
            frame("one"),
            items(&["a", "b"]),
            frame("two"),
            frame("three"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "one");
    assert_eq!(failure(&mut pipeline).await.kind(), ErrorKind::Reply);
    assert_eq!(pipeline.in_flight(), 1);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "three");
}

#[tokio::test]
async fn item_that_nobody_asked_for_closes_the_connection() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    peer.send(items(&["stray"])).await;
    let received = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(received.expect_err("an item").kind(), ErrorKind::Broken);
    let stream = within(connection.stream::<Prefixed>("go")).await;
    let error = stream.expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));

    // It was there before the request.
    let (mut connection, mut peer) = memory::connection(1 << 10);
    peer.send(items(&["stray"])).await;
    let stream = within(connection.stream::<Prefixed>("go")).await;
    let error = stream.expect_err("an item of no request");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

/// Numbers.
#[derive(Debug)]
enum Numbers {}

impl Contract for Numbers {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = u32;
}

impl Streams for Numbers {
    type Format = Plain;
    type Item<'a> = u32;
}

#[tokio::test]
async fn item_that_cannot_be_read_does_not_end_the_stream() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let stream = within(connection.stream::<Numbers>("go")).await;
    let mut stream = stream.expect("it is open");
    peer.send([items(&["1", "two", "3"]), frame("4")].concat())
        .await;
    assert_eq!(within(stream.next()).await.expect("a number"), Some(1));
    let error = within(stream.next()).await.expect_err("no number");
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert_eq!(within(stream.next()).await.expect("a number"), Some(3));
    assert_eq!(within(stream.finish()).await.expect("a reply"), 4);
}

/// Takes the next item of a `futures_core::Stream`.
async fn next_of<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let mut stream = std::pin::Pin::new(stream);
    within(poll_fn(|cx| stream.as_mut().poll_next(cx))).await
}

#[tokio::test]
async fn owned_items_are_a_stream() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut stream = opened(&mut connection).await.owned::<String>();
    peer.send([items(&["one", "two"]), frame("end")].concat())
        .await;
    for item in ["one", "two"] {
        let next = next_of(&mut stream).await.expect("an item");
        assert_eq!(next.expect("an item"), item);
    }
    assert!(next_of(&mut stream).await.is_none());
    let reply = within(stream.into_inner().finish()).await;
    assert_eq!(reply.expect("a reply"), "end");
}

/// Counts up to a number, and fails after 1,000.
#[server_protocol(replies = u32)]
async fn count(to: u32, mut out: Replies<'_, Count>) -> Result<u32, String> {
    for number in 0..to {
        if number == 1_000 {
            return Err("too many".to_owned());
        }
        out.send(number).await?;
    }
    Ok(to)
}

#[tokio::test]
async fn items_of_a_server_arrive_in_order_and_a_stream_may_be_left() {
    let server = start(ConcurrentServer::new(Count)).await;
    let mut connection = within(Connection::connect(server.addr()))
        .await
        .expect("it listens");
    for (to, left_at) in [
        (3, 9),
        (0, 9),
        (500, 7),
        (1_000, 1_001),
        (1_001, 3),
        (2_000, 9_999),
    ] {
        let mut stream = within(connection.stream::<Count>(to))
            .await
            .expect("it is open");
        for number in 0..to.min(left_at).min(1_000) {
            assert_eq!(within(stream.next()).await.expect("an item"), Some(number));
        }
        if left_at < to {
            continue;
        }
        match within(stream.finish()).await {
            Ok(reply) => assert_eq!(reply, to),
            Err(error) => {
                assert_eq!(error.rejection().expect("a rejection").text(), "too many");
            }
        }
    }
}

/// Sends items without end, unless it is asked for nothing.
#[server_protocol(replies = &str)]
async fn endless(request: &str, mut out: Replies<'_, Endless>) -> Result<&'static str, String> {
    while !request.is_empty() {
        out.send("more").await?;
    }
    Ok("none")
}

#[tokio::test]
async fn dropped_stream_without_end_is_cancelled_by_the_next_use() {
    let server = start(ConcurrentServer::new(Endless)).await;
    let connection = within(Connection::connect(server.addr())).await;
    let mut connection = connection.expect("it listens");
    for _ in 0..3 {
        let mut stream = within(connection.stream::<Endless>("go"))
            .await
            .expect("it is open");
        assert_eq!(within(stream.next()).await.expect("an item"), Some("more"));
        let reply = within(connection.call::<Endless>("")).await;
        assert_eq!(reply.expect("the connection goes on"), "none");
    }
    drop(connection);
    let requests = within(server.stopped()).await.requests;
    assert_eq!(
        (requests.served, requests.rejected + requests.failed),
        (3, 3)
    );
}

#[server_protocol(framing = Lines, replies = u32)]
async fn count_lines(to: u32, mut out: Replies<'_, CountLines>) -> Result<String, String> {
    for number in 0..to {
        out.send(number).await?;
    }
    Ok("end".to_owned())
}

#[tokio::test]
async fn items_without_notices_are_received_as_messages() {
    let server = start(ConcurrentServer::new(CountLines)).await;
    let mut connection = within(Connection::connect(server.addr()))
        .await
        .expect("it listens");
    let mut line = within(connection.call::<CountLines>(3))
        .await
        .expect("an item");
    let mut lines = Vec::new();
    while line != "end" {
        lines.push(line);
        line = within(connection.receive::<String, Plain>())
            .await
            .expect("a line");
    }
    assert_eq!(lines, ["0", "1", "2"]);
}

#[tokio::test]
async fn request_that_is_larger_than_the_pipe_is_sent_by_the_wait_for_an_item() {
    let (mut connection, peer) = memory::connection(64);
    let request = "x".repeat(10_000);
    let server = play(
        peer,
        [
            expects(frame(&request)),
            sends([items(&["one"]), frame("end")].concat()),
        ],
    );
    let stream = within(connection.stream::<Prefixed>(&request)).await;
    let mut stream: Texts<'_> = stream.expect("it is open");
    expect_item(&mut stream, "one").await;
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
    let _peer: RawPeer = server.peer().await;
}
