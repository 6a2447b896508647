//! Many requests in flight on one connection, each with exactly one result.

use tcs::{
    Connection, ErrorKind, Execution, RejectionKind,
    client::ConnectOptions,
    framing::{LengthPrefixed, Lines},
};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, Text, connected, hears},
    control, counted, frame, memory,
    pipeline::{receive, send, waits},
    script::{expects, play, receives, sends},
    within,
};

#[tokio::test]
async fn replies_come_in_the_order_of_the_requests() {
    let (mut connection, server) = connected([
        expects([frame("one"), frame("two"), frame("three")].concat()),
        sends([frame("1"), frame("2")].concat()),
        expects(frame("four")),
        sends([frame("3"), control(0xee, "a notice"), frame("4")].concat()),
        expects(frame("five")),
        sends(frame("5")),
    ])
    .await;
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
    let reply = within(connection.call::<Prefixed>("five")).await;
    assert_eq!(reply.expect("a reply"), "5");
    server.finished().await;
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
    assert!(waits(&mut pipeline).await);
    assert_eq!(writes.take(), [64 * 5]);
}

#[tokio::test]
async fn rejection_in_the_middle_stands_for_one_reply() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two", "three"]).await;
    within(pipeline.flush()).await;
    within(peer.send([frame(b"1"), control(0x04, "not now"), frame(b"3")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "1");
    let error = receive(&mut pipeline).await.expect_err("a rejection");
    assert_eq!(error.execution(), Execution::NotExecuted);
    assert_eq!(error.rejection().expect("a rejection").text(), "not now");
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "3");
    assert_eq!(pipeline.in_flight(), 0);
}

#[tokio::test]
async fn dropped_receive_loses_no_reply() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["one", "two"]).await;
    within(pipeline.flush()).await;
    // A part of the first reply.
    within(peer.send(&frame(b"first")[..6])).await;
    assert!(waits(&mut pipeline).await);
    within(peer.send([&frame(b"first")[6..], &frame(b"second")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "first");
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "second");
}

#[tokio::test]
async fn full_pipeline_says_so_and_goes_on() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (mut connection, mut peer) = memory::connection_with::<LengthPrefixed>(&options, 1 << 10);
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
async fn a_quarter_of_what_is_in_flight_is_sent_before_anything_is_received() {
    const FRAME: usize = 256;
    let (near, _far) = tokio::io::duplex(1 << 20);
    let (near, writes) = counted(near);
    let options = ConnectOptions::new().max_in_flight(2_048);
    let mut connection: Connection<LengthPrefixed> = options.over(near).expect("right settings");
    let mut pipeline = connection.pipeline::<Prefixed>();
    let request = "x".repeat(FRAME - 4);
    let (mut in_flight, mut unsent) = (0, 0);
    for _ in 0..2_048 {
        send(&mut pipeline, &[&request]).await;
        (in_flight, unsent) = (in_flight + FRAME, unsent + FRAME);
        let enough = (in_flight / 4).clamp(1_024, 32 * 1_024);
        let expected = if unsent >= enough {
            vec![unsent]
        } else {
            vec![]
        };
        assert_eq!(writes.take(), expected, "{in_flight}");
        if unsent >= enough {
            unsent = 0;
        }
    }
}

#[tokio::test]
async fn what_was_received_is_no_longer_in_flight() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (near, writes) = counted(near);
    let mut peer = RawPeer::over(far);
    let mut connection = Connection::over(near);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let request = "x".repeat(1_020);
    send(&mut pipeline, &[&*request; 32]).await;
    within(pipeline.flush()).await;
    within(peer.send(frame(b"y").repeat(28))).await;
    for _ in 0..28 {
        assert_eq!(receive(&mut pipeline).await.expect("a reply"), "y");
    }
    writes.take();
    // 4 KiB, and what is added.
    send(&mut pipeline, &[&request]).await;
    assert_eq!(writes.take(), [] as [usize; 0]);
    send(&mut pipeline, &[&request]).await;
    assert_eq!(writes.take(), [2 * 1_024]);
}

#[tokio::test]
async fn full_buffers_at_both_ends_block_nobody() {
    const REQUESTS: usize = 2_000;
    let (mut connection, mut peer) = memory::connection(64);
    // A server that reads nothing more until its reply is sent.
    let server = tokio::spawn(async move {
        for _ in 0..REQUESTS {
            within(peer.ask_back()).await;
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
    let (mut connection, peer) = memory::connection(1 << 10);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let request = "x".repeat(60_000);
    send(&mut pipeline, &[&request]).await;
    // Replies are there, but nothing is read of the requests.
    let server = play(peer, [receives(1), sends(frame(vec![b'y'; 100_000]))]);
    send(&mut pipeline, &[&request]).await;
    assert!(pipeline.is_full());
    let error = within(pipeline.send("x")).await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(
        error.to_string(),
        "the pipeline is full (64 KiB of requests wait to be sent): receive a reply before the next \
         request"
    );
    assert_eq!(
        receive(&mut pipeline).await.expect("a reply").len(),
        100_000
    );
    server.finished().await;
}

#[tokio::test]
async fn lines_are_pipelined_as_well() {
    let (mut connection, mut peer) = memory::connection::<Lines>(1 << 10);
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
async fn request_rejected_before_it_is_all_sent_is_sent_to_its_end() {
    let (mut connection, mut peer) = memory::connection(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &[&"x".repeat(1_000)]).await;
    within(peer.send(control(0x80, "a notice"))).await;
    let server = play(
        peer,
        [
            receives(4),
            sends(control(0x03, "too large")),
            receives(1_000),
            expects(frame("two")),
            sends(frame("2")),
        ],
    );
    let error = receive(&mut pipeline).await.expect_err("a rejection");
    let kind = error.rejection().map(tcs::Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::TooLarge));
    send(&mut pipeline, &["two"]).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "2");
    server.finished().await;
}

#[tokio::test]
async fn pipeline_with_nothing_in_flight_is_not_full() {
    let (mut connection, mut peer) = memory::connection(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let large = "x".repeat(100_000);
    tokio::select! {
        biased;
        _ = pipeline.send(&large) => panic!("nobody reads it"),
        () = tokio::task::yield_now() => {}
    }
    assert!(pipeline.is_full());
    within(peer.send(control(0x03, "too large"))).await;
    receive(&mut pipeline).await.expect_err("a rejection");
    assert_eq!(pipeline.in_flight(), 0);
    assert!(!pipeline.is_full(), "`receive` has nothing to wait for");
}

#[tokio::test]
async fn flush_that_returns_early_says_so() {
    let (mut connection, mut peer) = memory::connection(64);
    let mut pipeline = connection.pipeline::<Prefixed>();
    let (request, reply) = ("x".repeat(10_000), "y".repeat(70_000));
    let server = tokio::spawn(async move {
        within(peer.receive(4)).await;
        within(peer.send(frame(reply.as_bytes()))).await;
        within(peer.receive(10_000)).await;
    });
    send(&mut pipeline, &[&request]).await;
    assert!(!within(pipeline.flush()).await);
    assert_eq!(receive(&mut pipeline).await.expect("a reply").len(), 70_000);
    assert!(within(pipeline.flush()).await);
    within(server).await.expect("all was sent");
}
