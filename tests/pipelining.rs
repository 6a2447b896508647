//! Many requests in flight on one connection, each with exactly one result.

use std::{future::poll_fn, task::Poll, time::Duration};

use tcs::{
    ConnectOptions, Connection, Error, ErrorKind, Execution, LengthPrefixed, Lines, Pipeline,
    RefusalKind,
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, Text, chain, hears},
    control, counted, frame, patiently,
    raw_server::RawServer,
    within,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A connection in memory, between whose ends so many bytes fit, and its server's end.
fn memory(room: usize) -> (Connection<LengthPrefixed, DuplexStream>, RawPeer) {
    let (near, far) = tokio::io::duplex(room);
    (Connection::over(near), RawPeer::over(far))
}

/// Sends all of `requests`.
async fn send<S>(pipeline: &mut Pipeline<'_, Prefixed, S>, requests: &[&str])
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for request in requests {
        within(pipeline.send(request)).await.expect("there is room");
    }
}

/// Receives a reply.
async fn receive<S>(pipeline: &mut Pipeline<'_, Prefixed, S>) -> Result<String, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = within(pipeline.receive()).await?;
    Ok(reply.expect("something is in flight").to_owned())
}

/// What an error says of a request.
fn facts(result: Result<String, Error>) -> (ErrorKind, Execution) {
    let error = result.expect_err("no reply");
    (error.kind(), error.execution())
}

#[tokio::test]
async fn replies_come_in_the_order_of_the_requests() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        for text in ["one", "two", "three"] {
            hears(&mut peer, text).await;
        }
        within(peer.send([frame(b"1"), frame(b"2")].concat())).await;
        hears(&mut peer, "four").await;
        within(peer.send([frame(b"3"), control(0xee, "a notice"), frame(b"4")].concat())).await;
        hears(&mut peer, "five").await;
        within(peer.send(frame(b"5"))).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", "three"]).await;
    assert_eq!(pipeline.in_flight(), 3);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    send(&mut pipeline, &["four"]).await;
    for reply in ["2", "3", "4"] {
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), reply);
    }
    assert!(within(pipeline.receive()).await.expect("fine").is_none());
    // Everything was received, so the connection goes on.
    drop(pipeline);
    let reply = within(connection.call::<Prefixed>("five")).await;
    assert_eq!(reply.expect("a reply"), "5");
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn requests_are_sent_in_one_write() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (near, writes) = counted(near);
    let mut peer = RawPeer::over(far);
    let mut connection = Connection::over(near);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["x"; 64]).await;
    assert!(writes.take().is_empty());
    within(pipeline.flush()).await;
    assert_eq!(writes.take(), [64 * 5]);
    within(peer.send(frame(b"y").repeat(64))).await;
    for _ in 0..64 {
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), "y");
        send(&mut pipeline, &["z"]).await;
    }
    // What was collected while replies were there is sent when another has to be waited for.
    assert!(writes.take().is_empty());
    let none = poll_fn(|cx| {
        let mut received = std::pin::pin!(pipeline.receive());
        Poll::Ready(received.as_mut().poll(cx).is_pending())
    });
    assert!(none.await);
    assert_eq!(writes.take(), [64 * 5]);
}

#[tokio::test]
async fn refusal_in_the_middle_stands_for_one_reply() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", "three"]).await;
    within(pipeline.flush()).await;
    within(peer.send([frame(b"1"), control(0x04, "not now"), frame(b"3")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    let error = receive(&mut pipeline).await.expect_err("a refusal");
    assert_eq!(error.execution(), Execution::Refused);
    assert_eq!(error.refusal().expect("a refusal").text(), "not now");
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "3");
    assert_eq!(pipeline.in_flight(), 0);
}

#[tokio::test]
async fn final_refusal_leaves_all_that_is_open_unexecuted() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    within(pipeline.flush()).await;
    send(&mut pipeline, &["not sent"]).await;
    within(peer.send([frame(b"1"), control(0x40, "stopping")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    for _ in 0..2 {
        let refused = (ErrorKind::Refused, Execution::Refused);
        assert_eq!(facts(receive(&mut pipeline).await), refused);
    }
    assert!(within(pipeline.receive()).await.expect("fine").is_none());
    let error = within(pipeline.send("later")).await.expect_err("it ended");
    let ended = ["unnamed peer ended the connection", "going away: stopping"];
    assert_eq!(chain(&error), ended);
    drop(pipeline);
    let error = within(connection.call::<Prefixed>("later")).await;
    assert_eq!(chain(&error.expect_err("it ended")), ended);
}

#[tokio::test]
async fn requests_open_when_the_server_closes_tell_whether_they_were_sent() {
    let (mut connection, mut peer) = memory(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let request = "x".repeat(40);
    // 44 bytes each: the second is sent in part, the third not at all.
    send(&mut pipeline, &[request.as_str(); 3]).await;
    let pending = poll_fn(|cx| {
        let mut received = std::pin::pin!(pipeline.receive());
        Poll::Ready(received.as_mut().poll(cx).is_pending())
    });
    assert!(pending.await);
    within(peer.send(frame(b"1"))).await;
    drop(peer);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    let (_, execution) = facts(receive(&mut pipeline).await);
    assert_eq!(execution, Execution::Unknown);
    let (_, execution) = facts(receive(&mut pipeline).await);
    assert_eq!(execution, Execution::NotSent);
    assert!(within(pipeline.receive()).await.expect("fine").is_none());
}

#[tokio::test]
async fn reset_is_told_behind_the_replies_that_arrived() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "one").await;
        hears(&mut peer, "two").await;
        within(peer.send(frame(b"1"))).await;
        within(told).await.expect("the test goes on");
        peer.reset();
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    tell.send(()).expect("the server waits");
    let reset = (ErrorKind::Io, Execution::Unknown);
    assert_eq!(facts(receive(&mut pipeline).await), reset);
    let error = within(pipeline.send("three")).await.expect_err("it ended");
    assert_eq!(error.execution(), Execution::NotSent);
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn what_the_server_said_before_a_request_could_not_be_sent_is_heard() {
    for (said, told, message) in [
        (
            control(0x43, "too large"),
            (ErrorKind::Refused, Execution::Refused),
            "unnamed peer refused the request",
        ),
        (
            Vec::new(),
            (ErrorKind::Io, Execution::Unknown),
            "cannot send to unnamed peer",
        ),
    ] {
        let (mut connection, mut peer) = memory(64);
        let server = tokio::spawn(async move {
            within(peer.receive(4)).await;
            within(peer.send(said)).await;
        });
        let mut pipeline = connection.pipeline::<Prefixed>();
        send(&mut pipeline, &[&"x".repeat(100_000)]).await;
        within(server).await.expect("it has begun to read");
        let error = receive(&mut pipeline).await.expect_err("no reply");
        assert_eq!((error.kind(), error.execution()), told);
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn pipeline_left_with_replies_to_come_closes_the_connection() {
    let left = "the connection to unnamed peer is closed: a pipeline was left before it had \
                received all replies";
    for is_forgotten in [false, true] {
        let (mut connection, mut peer) = memory(1 << 10);
        let mut pipeline = connection.pipeline::<Prefixed>();
        send(&mut pipeline, &["one", "two"]).await;
        within(peer_replies(&mut pipeline, &mut peer)).await;
        if is_forgotten {
            #[expect(clippy::mem_forget, reason = "safe code may do it")]
            std::mem::forget(pipeline);
        } else {
            drop(pipeline);
            hears(&mut peer, "two").await;
            assert_eq!(within(peer.hear()).await, Heard::End);
        }
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("the second reply would be taken for its own");
        let told = (error.kind(), error.execution(), error.to_string());
        let broken = (ErrorKind::Broken, Execution::NotSent, left.to_owned());
        assert_eq!(told, broken);
    }
}

/// Lets the server reply to the first of two requests, and receives that.
async fn peer_replies(pipeline: &mut Pipeline<'_, Prefixed, DuplexStream>, peer: &mut RawPeer) {
    pipeline.flush().await;
    hears(peer, "one").await;
    peer.send(frame(b"1")).await;
    assert_eq!(receive(pipeline).await.expect("a reply"), "1");
}

#[tokio::test]
async fn dropped_receive_loses_no_reply() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    within(pipeline.flush()).await;
    // A part of the first reply.
    within(peer.send(&frame(b"first")[..6])).await;
    let pending = poll_fn(|cx| {
        let mut received = std::pin::pin!(pipeline.receive());
        Poll::Ready(received.as_mut().poll(cx).is_pending())
    });
    assert!(pending.await);
    within(peer.send([&frame(b"first")[6..], &frame(b"second")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "first");
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "second");
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_ends_all_that_is_open() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let mut connection = options.over::<LengthPrefixed, _>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", &"x".repeat(80), "four"]).await;
    let before = tokio::time::Instant::now();
    patiently(pipeline.flush()).await;
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    hears(&mut peer, "one").await;
    for execution in [
        Execution::Unknown,
        Execution::Unknown,
        Execution::Unknown,
        Execution::NotSent,
    ] {
        let (_, told) = facts(receive(&mut pipeline).await);
        assert_eq!(told, execution);
    }
    let error = within(pipeline.send("later")).await.expect_err("closed");
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: an earlier exchange timed out"
    );
}

#[tokio::test]
async fn full_pipeline_says_so_and_goes_on() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().max_in_flight(2);
    let mut connection = options.over::<LengthPrefixed, _>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one"]).await;
    assert!(!pipeline.is_full());
    send(&mut pipeline, &["two"]).await;
    assert!(pipeline.is_full());
    let error = within(pipeline.send("three")).await.expect_err("full");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Full, Execution::NotSent)
    );
    assert_eq!(
        error.to_string(),
        "the pipeline is full (at most 2 in flight, `max_in_flight`): receive a reply before the \
         next request"
    );
    within(pipeline.flush()).await;
    within(peer.send([frame(b"1"), frame(b"2")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    send(&mut pipeline, &["three"]).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "2");
    for text in ["one", "two"] {
        hears(&mut peer, text).await;
    }
}

#[tokio::test]
async fn full_buffers_at_both_ends_block_nobody() {
    const REQUESTS: usize = 2_000;
    let (mut connection, mut peer) = memory(64);
    // A server that reads nothing more until its reply is sent.
    let server = tokio::spawn(async move {
        for _ in 0..REQUESTS {
            let Heard::Message(request) = within(peer.hear()).await else {
                panic!("too few requests");
            };
            within(peer.send(frame(&request))).await;
        }
    });
    let mut pipeline = connection.pipeline::<Prefixed>();
    let mut received = 0;
    for number in 0..REQUESTS {
        while pipeline.is_full() {
            let reply = receive(&mut pipeline).await.expect("a reply");
            assert!(reply.starts_with(&format!("{received} ")));
            received += 1;
        }
        let request = format!("{number} {}", "x".repeat(1_000));
        send(&mut pipeline, &[&request]).await;
    }
    while pipeline.in_flight() > 0 {
        let reply = receive(&mut pipeline).await.expect("a reply");
        assert!(reply.starts_with(&format!("{received} ")));
        received += 1;
    }
    assert_eq!(received, REQUESTS);
    within(server).await.expect("the server has read it all");
}

#[tokio::test]
async fn server_that_does_not_read_is_sent_no_more_than_fits() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let request = "x".repeat(60_000);
    send(&mut pipeline, &[&request]).await;
    // Replies are there, but nothing is read of the requests.
    let server = tokio::spawn(async move {
        within(peer.receive(1)).await;
        within(peer.send(frame(&vec![b'y'; 100_000]))).await;
        peer
    });
    send(&mut pipeline, &[&request]).await;
    assert!(pipeline.is_full());
    let error = within(pipeline.send("x")).await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(
        receive(&mut pipeline).await.expect("a reply").len(),
        100_000
    );
    drop(within(server).await.expect("it is sent"));
}

#[tokio::test]
async fn lines_are_pipelined_as_well() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    let mut connection: Connection<Lines, _> = Connection::over(near);
    let mut pipeline = connection.pipeline::<Text<Lines>>();
    for request in ["one", "two", "three"] {
        within(pipeline.send(request)).await.expect("there is room");
    }
    let error = within(pipeline.send("two\nlines")).await;
    assert_eq!(error.expect_err("two").kind(), ErrorKind::Request);
    within(pipeline.flush()).await;
    assert_eq!(within(peer.receive(14)).await, b"one\ntwo\nthree\n");
    within(peer.send("1\r\n2\n3\n")).await;
    for reply in ["1", "2", "3"] {
        let received = within(pipeline.receive()).await.expect("a reply");
        assert_eq!(received, Some(reply));
    }
    drop(peer);
    let error = within(pipeline.send("four")).await.expect_err("closed");
    assert_eq!(error.execution(), Execution::NotSent);
}

#[tokio::test]
async fn message_before_its_request_is_no_reply() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one"]).await;
    within(peer.send(frame(b"stray"))).await;
    let error = receive(&mut pipeline).await.expect_err("not asked for");
    assert_eq!(error.execution(), Execution::NotSent);
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: the server said something that was not asked \
         for"
    );
    drop(pipeline);
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test]
async fn reply_that_is_too_large_or_no_text_fails_alone() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().max_frame_len(100);
    let mut connection = options.over::<LengthPrefixed, _>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", "three"]).await;
    within(pipeline.flush()).await;
    within(peer.send([frame(&[b'x'; 300]), frame(b"\xff"), frame(b"3")].concat())).await;
    let no_reply = (ErrorKind::Reply, Execution::Unknown);
    assert_eq!(facts(receive(&mut pipeline).await), no_reply);
    assert_eq!(facts(receive(&mut pipeline).await), no_reply);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "3");
}

#[tokio::test]
async fn request_refused_before_it_is_all_sent_is_sent_to_its_end() {
    let (mut connection, mut peer) = memory(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &[&"x".repeat(1_000)]).await;
    within(peer.send(control(0x80, "a notice"))).await;
    let server = tokio::spawn(async move {
        within(peer.receive(4)).await;
        within(peer.send(control(0x03, "too large"))).await;
        within(peer.receive(1_000)).await;
        hears(&mut peer, "two").await;
        within(peer.send(frame(b"2"))).await;
        peer
    });
    let error = receive(&mut pipeline).await.expect_err("a refusal");
    let kind = error.refusal().map(tcs::Refusal::kind);
    assert_eq!(kind, Some(RefusalKind::TooLarge));
    send(&mut pipeline, &["two"]).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "2");
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
}
