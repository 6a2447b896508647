//! Pushed events on a `Connection`.

use std::{future::poll_fn, marker::PhantomData, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Error, ErrorKind, Execution,
    client::ConnectOptions,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines, Netstrings},
    protocol::{Contract, Push, PushGroup, Pushes},
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, Text, events, hears, told},
    frame, memory, patiently,
    pipeline::{receive, send},
    start, within,
};
use tokio::time::{Instant, advance, timeout};

const SECOND: Duration = Duration::from_secs(1);

async fn next<F: Framing>(connection: &mut Connection<F>) -> Result<String, Error> {
    let event = patiently(connection.next_event::<Text<F>>()).await?;
    Ok(event.to_owned())
}

/// Receives these events.
async fn expect_events<F: Framing>(connection: &mut Connection<F>, events: &[&str]) {
    for event in events {
        assert_eq!(next(connection).await.expect("an event"), *event);
    }
}

/// Polls `next_event` once, which waits, and drops it.
async fn next_waits<F: Framing>(connection: &mut Connection<F>) {
    poll_fn(|cx| {
        let event = pin!(connection.next_event::<Text<F>>());
        assert!(event.poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Calls while the server sends this.
async fn call_during(
    connection: &mut Connection<LengthPrefixed>,
    peer: &mut RawPeer,
    sent: Vec<u8>,
) -> Result<String, Error> {
    let server = async {
        hears(peer, "call").await;
        peer.send(sent).await;
    };
    let (reply, ()) = tokio::join!(patiently(connection.call::<Prefixed>("call")), server);
    reply.map(str::to_owned)
}

#[tokio::test]
async fn events_that_arrive_during_calls_are_kept_in_order() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    peer.send(events(&["1", ""])).await;
    let sent = [
        events(&["2"]),
        events(&["3", "4"]),
        frame("one"),
        events(&["5"]),
    ]
    .concat();
    let reply = call_during(&mut connection, &mut peer, sent).await;
    assert_eq!(reply.expect("a reply"), "one");
    expect_events(&mut connection, &["1", "", "2"]).await;
    let sent = [frame("two"), events(&["6"])].concat();
    let reply = call_during(&mut connection, &mut peer, sent).await;
    assert_eq!(reply.expect("a reply"), "two");
    expect_events(&mut connection, &["3", "4", "5", "6"]).await;
    next_waits(&mut connection).await;
}

#[tokio::test]
async fn events_between_the_replies_of_a_pipeline_are_kept() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["1", "2"]).await;
    within(pipeline.flush()).await;
    peer.send([events(&["a"]), frame("one"), events(&["b"]), frame("two")].concat())
        .await;
    for reply in ["one", "two"] {
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), reply);
    }
    expect_events(&mut connection, &["a", "b"]).await;
}

#[tokio::test]
async fn events_between_items_are_kept() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let stream = within(connection.stream::<Prefixed>("go")).await;
    let mut stream = stream.expect("it is open");
    let item = tcs_tests::client::items(&["item"]);
    peer.send([events(&["a"]), item, events(&["b"]), frame("end")].concat())
        .await;
    assert_eq!(within(stream.next()).await.expect("an item"), Some("item"));
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
    expect_events(&mut connection, &["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn wait_for_an_event_has_no_limit_but_a_deadline() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    next_waits(&mut connection).await;
    advance(3_600 * SECOND).await;
    next_waits(&mut connection).await;
    peer.send(events(&["late"])).await;
    expect_events(&mut connection, &["late"]).await;

    let began = Instant::now();
    let event = connection.deadline(SECOND).next_event::<Prefixed>();
    let error = patiently(event).await.expect_err("no event");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    assert_eq!(began.elapsed(), SECOND);
    peer.send(events(&["later"])).await;
    expect_events(&mut connection, &["later"]).await;
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_of_a_dropped_call_continues_while_an_event_is_awaited() {
    for is_answered in [true, false] {
        let options = ConnectOptions::new().reply_timeout(10 * SECOND);
        let (mut connection, mut peer) =
            memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
        let began = Instant::now();
        let call = timeout(4 * SECOND, connection.call::<Prefixed>("call")).await;
        assert!(call.is_err(), "there is no reply");
        hears(&mut peer, "call").await;
        peer.send(events(&["one"])).await;
        expect_events(&mut connection, &["one"]).await;
        if is_answered {
            peer.send(frame("reply")).await;
        }
        let event = timeout(100 * SECOND, connection.next_event::<Prefixed>()).await;
        assert_eq!(event.is_err(), is_answered);
        if let Ok(event) = event {
            assert_eq!(told(&event.expect_err("no event")).0, ErrorKind::TimedOut);
            assert_eq!(began.elapsed(), 10 * SECOND);
        }
    }
}

#[tokio::test]
async fn dropped_wait_loses_no_event() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    for byte in events(&["one", "two"]) {
        next_waits(&mut connection).await;
        peer.send([byte]).await;
        if byte == b'e' {
            expect_events(&mut connection, &["one"]).await;
        }
    }
    expect_events(&mut connection, &["two"]).await;
}

#[tokio::test]
async fn events_beyond_the_limit_close_the_connection() {
    // With 32 bytes for each, two fit.
    let options = ConnectOptions::new().max_queued_events(69);
    for (sent, fit) in [(["1", "2"], true), (["1", "large"], false)] {
        let (mut connection, mut peer) =
            memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
        let sent = [events(&sent), frame("reply")].concat();
        let reply = call_during(&mut connection, &mut peer, sent).await;
        if fit {
            assert_eq!(reply.expect("a reply"), "reply");
            expect_events(&mut connection, &["1", "2"]).await;
            continue;
        }
        let error = reply.expect_err("too many events");
        assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
        assert!(error.to_string().contains("max_queued_events"), "{error}");
        // What was kept is still received.
        expect_events(&mut connection, &["1"]).await;
        let error = next(&mut connection).await.expect_err("it is closed");
        assert!(error.to_string().contains("max_queued_events"), "{error}");
    }
}

#[tokio::test]
async fn events_that_are_received_at_once_have_no_limit() {
    let options = ConnectOptions::new().max_queued_events(33);
    let (mut connection, mut peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 20);
    let large = "x".repeat(1_000);
    peer.send(events(&[&*large; 100])).await;
    for _ in 0..100 {
        expect_events(&mut connection, &[&large]).await;
    }
}

#[tokio::test]
async fn limit_of_zero_is_an_error() {
    let (near, _far) = tokio::io::duplex(1);
    let options = ConnectOptions::new().max_queued_events(0);
    let error = options.over::<LengthPrefixed>(near).expect_err("zero");
    assert_eq!(error.kind(), ErrorKind::Setting);
}

#[tokio::test]
async fn message_that_is_no_event_closes_the_connection() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    peer.send([events(&["one"]), frame("stray")].concat()).await;
    expect_events(&mut connection, &["one"]).await;
    let error = next(&mut connection).await.expect_err("no event");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

#[tokio::test]
async fn events_before_the_end_are_received() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    peer.send(events(&["one", "two"])).await;
    drop(peer);
    expect_events(&mut connection, &["one", "two"]).await;
    let error = next(&mut connection).await.expect_err("the end");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
}

#[tokio::test]
async fn reply_of_a_dropped_call_is_skipped_by_the_wait_for_an_event() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(1 << 10);
    poll_fn(|cx| {
        assert!(
            pin!(connection.call::<Prefixed>("call"))
                .poll(cx)
                .is_pending()
        );
        Poll::Ready(())
    })
    .await;
    peer.send([frame("skipped"), events(&["one"])].concat())
        .await;
    expect_events(&mut connection, &["one"]).await;
}

/// Messages, of which those with a star are events.
struct Starred<F>(PhantomData<fn() -> F>);

impl<F: Framing> Contract for Starred<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
    const IS_EVENT: Option<fn(&[u8]) -> bool> = Some(<Text<Lines> as Pushes>::is_push);
}

#[tokio::test]
async fn protocol_tells_events_from_replies_where_the_framing_cannot() {
    let (mut connection, mut peer) = memory::connection::<Lines>(1 << 10);
    // Before the request: no other message may be there.
    peer.send("*0\n").await;
    let server = async {
        assert_eq!(peer.receive(5).await, b"call\n");
        peer.send("*1\n*2\nreply\n*3\n").await;
    };
    let (reply, ()) = tokio::join!(within(connection.call::<Starred<Lines>>("call")), server);
    assert_eq!(reply.expect("a reply"), "reply");
    expect_events(&mut connection, &["*0", "*1", "*2", "*3"]).await;
    peer.send("stray\n").await;
    let error = next(&mut connection).await.expect_err("no event");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

#[tokio::test]
async fn event_beyond_the_limit_does_not_pass_for_a_reply() {
    let options = ConnectOptions::new().max_reply_len(8);
    let (mut connection, mut peer) = memory::connection_with::<Netstrings>(&options, 1 << 10);
    let mut pipeline = connection.pipeline::<Starred<Netstrings>>();
    for request in ["a", "b"] {
        within(pipeline.send(request)).await.expect("there is room");
    }
    assert!(within(pipeline.flush()).await);
    peer.send("9:*12345678,1:a,1:b,").await;
    for _ in 0..2 {
        let error = within(pipeline.receive()).await.expect_err("no reply");
        assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
    }
}

/// Sends each message to all who have sent one.
#[server_protocol(push = &str)]
fn chat(message: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> Result<usize, String> {
    room.join(&push);
    Ok(room.send(message)?)
}

#[tokio::test]
async fn events_of_a_server_reach_all_its_clients() {
    let server = start(ConcurrentServer::new(Chat::new(PushGroup::new()))).await;
    let mut clients = Vec::new();
    for number in 0..3_usize {
        let mut client = within(Connection::connect(server.addr()))
            .await
            .expect("it listens");
        let members = within(client.call::<Chat>(&number.to_string())).await;
        assert_eq!(members.expect("a reply"), number + 1);
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        for event in number..3 {
            let next = within(client.next_event::<Chat>()).await;
            assert_eq!(next.expect("an event"), event.to_string());
        }
    }
}
