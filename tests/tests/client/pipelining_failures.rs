//! What goes wrong with a pipeline is told to each request that is in flight.

use std::time::Duration;

use tcs::{
    ErrorKind, Execution,
    client::{ConnectOptions, Pipeline},
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, chain, connected, hears, told},
    control, frame, memory, patiently,
    pipeline::{failure, receive, send, waits},
    script::{closes, expects, play, receives, sends},
    within,
};
use tokio::time::{Instant, sleep, timeout};

#[tokio::test]
async fn final_rejection_leaves_all_that_is_open_unexecuted() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
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
    let error = within(connection.call::<Prefixed>("later")).await;
    assert_eq!(chain(&error.expect_err("it ended")), ended);
}

#[tokio::test]
async fn requests_open_when_the_server_closes_tell_whether_they_were_sent() {
    let (mut connection, mut peer) = memory::connection(64);
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
        let (mut connection, peer) = memory::connection(64);
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
async fn replies_that_a_pipeline_has_not_received_are_skipped() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    within(peer_replies(&mut pipeline, &mut peer)).await;
    // Nothing of it is sent.
    send(&mut pipeline, &["three"]).await;

    let mut pipeline = connection.pipeline::<Prefixed>();
    assert_eq!(pipeline.in_flight(), 0);
    send(&mut pipeline, &["four"]).await;
    assert!(within(pipeline.flush()).await);
    hears(&mut peer, "two").await;
    hears(&mut peer, "four").await;
    within(peer.send([frame("2"), frame("4")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "4");
    assert_eq!(pipeline.in_flight(), 0);
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
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, mut peer) = memory::connection_with(&options, 64);
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
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one"]).await;
    within(peer.send(frame(b"stray"))).await;
    let error = receive(&mut pipeline).await.expect_err("not asked for");
    assert_eq!(error.execution(), Execution::NotSent);
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: the server sent an unexpected message"
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test]
async fn reply_that_is_too_large_or_no_text_fails_alone() {
    let options = ConnectOptions::new().max_frame_len(100);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
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
    let options = ConnectOptions::new().max_frame_len(100_000);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
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
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, mut peer) = memory::connection_with(&options, 64);
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
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, mut peer) = memory::connection_with(&options, 64);
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
async fn dropped_flush_leaves_no_deadline_once_its_requests_are_sent_though_others_wait() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, mut peer) = memory::connection_with(&options, 64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let large = "x".repeat(80);
    send(&mut pipeline, &[&large]).await;
    let dropped = timeout(Duration::from_secs(2), pipeline.flush()).await;
    dropped.expect_err("nobody reads");
    // The first request is sent, and only a part of the second.
    send(&mut pipeline, &[&large]).await;
    let server = async {
        hears(&mut peer, &large).await;
        peer.send(frame(b"1")).await;
    };
    let (received, ()) = tokio::join!(receive(&mut pipeline), server);
    assert_eq!(received.expect("a reply"), "1");
    let began = Instant::now();
    within(pipeline.flush()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn flush_that_ended_early_gives_a_dropped_one_no_more_time() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, mut peer) = memory::connection_with(&options, 64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let large = "x".repeat(80);
    send(&mut pipeline, &[&large]).await;
    // The server does not read, and replies with more than a flush reads.
    let reply = "y".repeat(70_000);
    let server = async { peer.send(frame(&reply)).await };
    let client = async {
        assert!(!within(pipeline.flush()).await);
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), reply);
    };
    tokio::join!(client, server);
    send(&mut pipeline, &[&large]).await;
    let dropped = timeout(Duration::from_secs(2), pipeline.flush());
    let server = async {
        sleep(Duration::from_secs(1)).await;
        hears(&mut peer, &large).await;
    };
    let (dropped, ()) = tokio::join!(dropped, server);
    dropped.expect_err("only a part of the second request is sent");
    let began = Instant::now();
    within(pipeline.flush()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn flush_that_times_out_says_that_requests_were_not_sent() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let (mut connection, _peer) = memory::connection_with(&options, 64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", &"x".repeat(80), "three"]).await;
    within(pipeline.flush()).await;
    for execution in [Execution::Unknown, Execution::Unknown, Execution::NotSent] {
        let error = failure(&mut pipeline).await;
        assert_eq!(told(&error), (ErrorKind::TimedOut, execution));
        assert_eq!(
            error.to_string(),
            "cannot send to unnamed peer within 3s (`reply_timeout`): it does not read"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn reply_that_arrived_is_received_after_a_send_that_timed_out() {
    let (mut connection, mut peer) = memory::connection(64);
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
