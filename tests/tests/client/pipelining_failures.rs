//! What goes wrong with a pipeline is told to each request that is in flight.

use std::time::Duration;

use tcs::{
    ErrorKind, Execution,
    client::{ConnectOptions, Pipeline},
    framing::LengthPrefixed,
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, chain, connected, hears, told},
    control, frame, patiently,
    pipeline::{failure, memory, receive, send, waits},
    script::{closes, expects, play, receives, sends},
    within,
};
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn final_rejection_leaves_all_that_is_open_unexecuted() {
    let (mut connection, mut peer) = memory(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    within(pipeline.flush()).await;
    send(&mut pipeline, &["not sent"]).await;
    within(peer.send([frame(b"1"), control(0x40, "stopping")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    for _ in 0..2 {
        let rejected = (ErrorKind::Rejected, Execution::NotExecuted);
        assert_eq!(told(&failure(&mut pipeline).await), rejected);
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
    assert!(waits(&mut pipeline).await);
    within(peer.send(frame(b"1"))).await;
    drop(peer);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    let (_, execution) = told(&failure(&mut pipeline).await);
    assert_eq!(execution, Execution::Unknown);
    let (_, execution) = told(&failure(&mut pipeline).await);
    assert_eq!(execution, Execution::NotSent);
    assert!(within(pipeline.receive()).await.expect("fine").is_none());
}

#[tokio::test]
async fn reset_is_told_behind_the_replies_that_arrived() {
    let (mut connection, server) = connected([
        expects(frame("one")),
        expects(frame("two")),
        sends(frame("1")),
    ])
    .await;
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    server.peer().await.reset();
    let reset = (ErrorKind::Io, Execution::Unknown);
    assert_eq!(told(&failure(&mut pipeline).await), reset);
    let error = within(pipeline.send("three")).await.expect_err("it ended");
    assert_eq!(error.execution(), Execution::NotSent);
}

#[tokio::test]
async fn what_the_server_said_before_a_request_could_not_be_sent_is_heard() {
    for (said, told, message) in [
        (
            control(0x43, "too large"),
            (ErrorKind::Rejected, Execution::NotExecuted),
            "unnamed peer rejected the request",
        ),
        (
            Vec::new(),
            (ErrorKind::Io, Execution::Unknown),
            "cannot send to unnamed peer",
        ),
    ] {
        let (mut connection, peer) = memory(64);
        let server = play(peer, [receives(4), sends(said), closes()]);
        let mut pipeline = connection.pipeline::<Prefixed>();
        send(&mut pipeline, &[&"x".repeat(100_000)]).await;
        server.finished().await;
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
async fn peer_replies(pipeline: &mut Pipeline<'_, Prefixed>, peer: &mut RawPeer) {
    pipeline.flush().await;
    hears(peer, "one").await;
    peer.send(frame(b"1")).await;
    assert_eq!(receive(pipeline).await.expect("a reply"), "1");
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_ends_all_that_is_open() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", &"x".repeat(80), "four"]).await;
    let before = Instant::now();
    within(pipeline.flush()).await;
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    hears(&mut peer, "one").await;
    for execution in [
        Execution::Unknown,
        Execution::Unknown,
        Execution::Unknown,
        Execution::NotSent,
    ] {
        let error = failure(&mut pipeline).await;
        assert_eq!(told(&error), (ErrorKind::TimedOut, execution));
    }
    let error = within(pipeline.send("later")).await.expect_err("closed");
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: an earlier exchange timed out"
    );
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
        "the connection to unnamed peer is closed: the server sent an unexpected message"
    );
    drop(pipeline);
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test]
async fn reply_that_is_too_large_or_no_text_fails_alone() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().max_frame_len(100);
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", "three"]).await;
    within(pipeline.flush()).await;
    within(peer.send([frame([b'x'; 300]), frame(b"\xff"), frame(b"3")].concat())).await;
    let no_reply = (ErrorKind::Reply, Execution::Unknown);
    assert_eq!(told(&failure(&mut pipeline).await), no_reply);
    assert_eq!(told(&failure(&mut pipeline).await), no_reply);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "3");
}

#[tokio::test]
async fn bytes_of_a_reply_that_is_skipped_do_not_stop_a_flush() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().max_frame_len(100_000);
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one"]).await;
    within(pipeline.flush()).await;
    let reply = frame(vec![b'x'; 300_000]);
    within(peer.send(&reply[..4])).await;
    let error = receive(&mut pipeline).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Reply);
    // More than fits into the pipe, so that it waits for the server, which first sends the rest.
    send(&mut pipeline, &[&"y".repeat(10_000)]).await;
    let server = play(
        peer,
        [
            sends(&reply[4..]),
            receives(4 + 3 + 4 + 10_000),
            sends(frame("2")),
        ],
    );
    within(pipeline.flush()).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "2");
    server.finished().await;
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_goes_on_while_the_wait_is_dropped_and_repeated() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    for reply in [Some("1"), None] {
        let began = Instant::now();
        let impatient = async {
            loop {
                let receive = pipeline.receive();
                if let Ok(reply) = timeout(Duration::from_secs(2), receive).await {
                    break reply.map(|reply| reply.map(str::to_owned));
                }
                if let Some(reply) = reply {
                    peer.send(frame(reply.as_bytes())).await;
                }
                pipeline.flush().await;
            }
        };
        match (within(impatient).await, reply) {
            (Ok(received), Some(reply)) => assert_eq!(received.as_deref(), Some(reply)),
            (received, _) => {
                assert_eq!(
                    told(&received.expect_err("no reply")),
                    (ErrorKind::TimedOut, Execution::Unknown)
                );
                assert_eq!(began.elapsed(), Duration::from_secs(3));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_goes_on_while_a_flush_is_dropped_and_repeated() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let mut pipeline = connection.pipeline::<Prefixed>();
    let large = "x".repeat(80);
    send(&mut pipeline, &[&large]).await;
    let two_seconds = Duration::from_secs(2);
    let dropped = timeout(two_seconds, pipeline.flush()).await;
    dropped.expect_err("nobody reads");
    // The timeout ends once `receive` has sent the request, and the next flush has all its time.
    let server = async {
        hears(&mut peer, &large).await;
        peer.send(frame(b"1")).await;
    };
    let (received, ()) = tokio::join!(receive(&mut pipeline), server);
    assert_eq!(received.expect("a reply"), "1");
    send(&mut pipeline, &[&large]).await;
    let began = Instant::now();
    let impatient = async { while timeout(two_seconds, pipeline.flush()).await.is_err() {} };
    within(impatient).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn reply_that_arrived_is_received_after_a_send_that_timed_out() {
    let (mut connection, mut peer) = memory(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one"]).await;
    pipeline.flush().await;
    hears(&mut peer, "one").await;
    peer.send(frame(b"1")).await;
    let large = "x".repeat(100_000);
    patiently(pipeline.send(&large)).await.expect("in flight");
    let error = pipeline.send("two").await.expect_err("timed out");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    let error = told(&failure(&mut pipeline).await);
    assert_eq!(error, (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(pipeline.in_flight(), 0);
}
