//! A reply never reaches another caller.

use std::time::Duration;

use tcs::{
    Connection, ErrorKind, Execution,
    client::ConnectOptions,
    framing::{LengthPrefixed, Raw},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, settle},
    client::{Prefixed, ask, connected, connected_with, told},
    control, frame, memory,
    pipeline::{failure, receive, send},
    script::{Script, closes, expects, expects_end, play, receives, sends},
    within,
};
use tokio::task::JoinSet;

#[tokio::test]
async fn reply_timeout_closes_the_connection_and_says_so() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_millis(30));
    let steps = [expects(frame("first")), expects_end()];
    let (mut connection, server) = connected_with(&options, steps).await;
    let peer = connection.peer().clone();
    let error = within(connection.call::<Prefixed>("first")).await;
    let error = error.expect_err("too late");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(
        error.to_string(),
        format!("no complete message from {peer} within 30ms (`reply_timeout`)")
    );
    // The client has closed the connection.
    server.finished().await;
    let error = within(connection.call::<Prefixed>("second")).await;
    assert_eq!(
        error.expect_err("closed").to_string(),
        format!("the connection to {peer} is closed: an earlier exchange timed out")
    );
}

#[tokio::test]
async fn second_exchange_over_raw_is_an_error_that_says_so() {
    let (mut connection, server) = connected([expects("Ann"), sends("once"), closes()]).await;
    let reply = within(connection.exchange(ask::<Raw>("Ann"))).await;
    assert_eq!(reply.expect("a reply"), "once");
    let error = within(connection.exchange(ask("Bob"))).await;
    let error = error.expect_err("a second");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    assert_eq!(
        error.to_string(),
        format!(
            "the connection to {} is closed: its framing has one exchange per connection, and \
             that was done",
            connection.peer()
        )
    );
    server.finished().await;
}

#[tokio::test]
async fn message_that_was_not_asked_for_is_no_reply() {
    let unasked = "the connection to unnamed peer is closed: the server sent an unexpected message";
    for stray in [frame(b"stray"), control(0x04, "stray")] {
        let (mut connection, mut server) = memory::connection::<LengthPrefixed>(1 << 10);
        within(server.send([control(0x80, "a notice"), stray].concat())).await;
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("a message was there before");
        assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
        assert_eq!(error.to_string(), unasked);
        assert_eq!(within(server.hear()).await, Heard::End);
    }

    let (mut connection, server) = connected([
        expects(frame("first")),
        sends([frame("reply"), frame("again")].concat()),
        expects_end(),
    ])
    .await;
    let reply = within(connection.call::<Prefixed>("first")).await;
    assert_eq!(reply.expect("a reply"), "reply");
    let error = within(connection.call::<Prefixed>("second")).await;
    assert_eq!(error.expect_err("one too many").kind(), ErrorKind::Broken);
    server.finished().await;
}

#[tokio::test]
async fn request_to_a_server_that_has_closed_is_not_sent() {
    let (mut connection, server) = memory::connection::<LengthPrefixed>(1 << 10);
    drop(server);
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
    assert_eq!(
        error.to_string(),
        "unnamed peer closed the connection before the request was sent"
    );
}

#[tokio::test]
async fn what_is_there_before_a_channel_asks_is_no_reply() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    within(peer.send(frame(b"stray"))).await;
    let connection: Connection<LengthPrefixed> = Connection::over(near);
    // Its driver has not run when the request is there already.
    let channel = connection.into_channel().expect("it is open");
    let error = within(channel.call::<Owned>("one")).await;
    let error = error.expect_err("the reply is not its own");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

#[tokio::test]
async fn what_was_read_before_a_request_was_sent_is_no_reply_to_it() {
    const CALLERS: usize = 64;
    let (channel, mut peer) = memory::channel(1 << 20);
    let request = "x".repeat(64);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (channel, request) = (channel.clone(), request.clone());
        callers.spawn(async move {
            let first = channel.call::<Owned>(&request).await;
            (first, channel.call::<Owned>(&request).await)
        });
    }
    within(peer.receive(CALLERS * frame(request.as_bytes()).len())).await;
    // The first callers ask again before all of this is handed out.
    within(peer.send([frame(b"y").repeat(CALLERS), frame(b"stray")].concat())).await;
    while let Some(replies) = within(callers.join_next()).await {
        let (first, second) = replies.expect("no panic");
        assert_eq!(first.expect("a reply"), "y");
        let error = second.expect_err("the reply is not its own");
        assert_eq!(error.kind(), ErrorKind::Broken);
    }
}

#[tokio::test]
async fn message_read_before_a_request_was_sent_is_not_its_reply() {
    // The second is long enough to be sent at once.
    for (later, execution) in [
        ("three".to_owned(), Execution::NotSent),
        ("x".repeat(2_000), Execution::Unknown),
    ] {
        let (mut connection, mut peer) = memory::connection(1 << 12);
        let mut pipeline = connection.pipeline::<Prefixed>();
        send(&mut pipeline, &["one", "two"]).await;
        within(pipeline.flush()).await;
        within(peer.send([frame(b"1"), frame(b"2"), frame(b"stray")].concat())).await;
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
        send(&mut pipeline, &[&later]).await;
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), "2");
        let error = told(&failure(&mut pipeline).await);
        assert_eq!(error, (ErrorKind::Broken, execution));
    }
}

#[tokio::test]
async fn message_read_while_requests_are_sent_is_no_reply_to_later_ones() {
    let (mut connection, peer) = memory::connection(64);
    let large = "x".repeat(70_000);
    let server = play(
        peer,
        [
            expects(frame("one")),
            receives(4),
            sends([frame("1"), frame("2"), frame("stray")].concat()),
            receives(70_000),
            receives(4),
            sends(control(0x80, "a notice")),
            receives(70_000),
        ],
    );
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", &large, &large]).await;
    let mut peer = server.peer().await;
    for reply in ["1", "2"] {
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), reply);
    }
    let error = told(&failure(&mut pipeline).await);
    assert_eq!(error, (ErrorKind::Broken, Execution::Unknown));
    assert_eq!(within(peer.hear()).await, Heard::End);
}

/// A server that sends half of `message` at once, and the rest when it has received `request`; returns
/// when the first half is sent.
async fn in_halves(mut peer: RawPeer, request: &str, message: &[u8]) -> Script {
    within(peer.send(&message[..6])).await;
    let steps = [expects(frame(request)), sends(&message[6..]), expects_end()];
    play(peer, steps)
}

/// Fails unless a request was sent, and what came was not taken for its reply.
fn assert_lost(error: &tcs::Error) {
    let lost = "the connection to unnamed peer was lost: the server sent an unexpected message";
    assert_eq!(told(error), (ErrorKind::Broken, Execution::Unknown));
    assert_eq!(error.to_string(), lost);
}

#[tokio::test]
async fn message_that_began_before_a_call_is_not_its_reply() {
    let (mut connection, peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let server = in_halves(peer, "x", &frame("stray")).await;
    let error = within(connection.call::<Prefixed>("x")).await;
    assert_lost(&error.expect_err("not its reply"));
    server.finished().await;
}

#[tokio::test]
async fn message_that_began_before_a_pipeline_sends_is_not_the_reply() {
    let (mut connection, peer) = memory::connection(1 << 12);
    // Long enough to be sent before anything is received.
    let request = "x".repeat(2_000);
    let server = in_halves(peer, &request, &frame("stray")).await;
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &[&request]).await;
    assert_lost(&receive(&mut pipeline).await.expect_err("not its reply"));
    server.finished().await;
}

#[tokio::test]
async fn message_that_began_before_a_channel_asks_is_not_the_reply() {
    let (channel, peer) = memory::channel(1 << 10);
    let server = in_halves(peer, "x", &frame("stray")).await;
    settle().await;
    let error = within(channel.call::<Owned>("x")).await;
    assert_lost(&error.expect_err("not its reply"));
    server.finished().await;
}

#[tokio::test]
async fn notice_that_began_before_a_request_was_sent_harms_nothing() {
    let (mut connection, peer) = memory::connection::<LengthPrefixed>(1 << 10);
    let said = [control(0x80, "a notice"), frame(b"a reply")].concat();
    let server = in_halves(peer, "x", &said).await;
    let reply = within(connection.call::<Prefixed>("x")).await;
    assert_eq!(reply.expect("a reply"), "a reply");
    drop(connection);
    server.finished().await;
}

#[tokio::test]
async fn message_read_while_the_last_reply_was_in_use_is_no_reply() {
    let (mut connection, mut peer) = memory::connection(1 << 16);
    let server = tokio::spawn(async move {
        within(peer.receive(4)).await;
        // More than one read takes. The stray message is the last of it.
        let notices = control(0x80, "a notice").repeat(4_000);
        within(peer.send([frame(b"early"), notices, frame(b"stray")].concat())).await;
        // The client reads on, because it waits until its request is sent.
        settle().await;
        within(peer.receive(100_000)).await;
        peer
    });
    let reply = within(connection.call::<Prefixed>(&"x".repeat(100_000))).await;
    assert_eq!(reply.expect("a reply"), "early");
    let _peer = within(server).await.expect("it has read the request");
    let channel = connection.into_channel().expect("it is open");
    let error = within(channel.call::<Owned>("later")).await;
    let error = error.expect_err("the message is older than the request");
    assert_eq!(error.kind(), ErrorKind::Broken);
}
