//! A `Connection` whose framing has ids: a late reply never reaches another call, and nobody waits for it.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Error, ErrorKind, Execution, RejectionKind,
    client::{ConnectOptions, ReplyOrEvent},
    format::Plain,
    framing::Multiplexed,
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    client::{Text, ask, chain, told},
    ids::{
        announced_of, control_of,
        kind::{CANCEL, CREDIT, DEADLINE, EVENTS, ITEMS, PARTS},
        message_of,
    },
    memory, patiently,
    script::{expects, play, sends},
    start, within,
};
use tokio::time::{Instant, advance};

type Texts = Text<Multiplexed>;

async fn call(connection: &mut Connection<Multiplexed>, request: &str) -> Result<String, Error> {
    let reply = patiently(connection.call::<Texts>(request)).await?;
    Ok(reply.to_owned())
}

/// Polls a call once, and drops it.
async fn begin(connection: &mut Connection<Multiplexed>, request: &str) {
    let mut call = pin!(connection.call::<Texts>(request));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn receives(peer: &mut RawPeer, bytes: Vec<u8>) {
    let received = within(peer.receive(bytes.len())).await;
    assert_eq!(
        received.escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

#[tokio::test]
async fn each_request_has_the_next_id() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(message_of(1, "A")),
            expects(message_of(2, "b")),
            sends(control_of(2, 0x01, "no")),
            expects(message_of(3, "c")),
            sends(message_of(3, "C")),
        ],
    );
    assert_eq!(call(&mut connection, "a").await.expect("a reply"), "A");
    let error = call(&mut connection, "b").await.expect_err("no reply");
    assert_eq!(error.rejection().expect("a rejection").text(), "no");
    let reply = within(connection.exchange(ask::<Multiplexed>("c"))).await;
    assert_eq!(reply.expect("a reply"), "C");
    server.finished().await;
}

#[tokio::test]
async fn dropped_call_is_cancelled_at_once_and_the_next_waits_for_nobody() {
    let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
    begin(&mut connection, "slow").await;
    receives(
        &mut peer,
        [message_of(1, "slow"), control_of(1, CANCEL, "")].concat(),
    )
    .await;
    let server = play(
        peer,
        [
            expects(message_of(2, "fast")),
            sends(message_of(2, "done")),
            // The reply was on its way, and reaches nobody.
            sends(message_of(1, "late")),
            expects(message_of(3, "next")),
            sends(announced_of(1, ITEMS, "later")),
            sends(control_of(1, 0x07, "")),
            sends(message_of(3, "right")),
        ],
    );
    assert_eq!(
        call(&mut connection, "fast").await.expect("a reply"),
        "done"
    );
    assert_eq!(
        call(&mut connection, "next").await.expect("a reply"),
        "right"
    );
    server.finished().await;
}

#[tokio::test]
async fn what_was_there_before_a_request_is_no_reply_to_it() {
    let unasked = "the connection to unnamed peer is closed: the server sent an unexpected message";
    for early in [
        message_of(1, "stray"),
        control_of(1, 0x04, "stray"),
        announced_of(1, ITEMS, "stray"),
        announced_of(1, PARTS, "stray"),
    ] {
        let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
        peer.send(early).await;
        let error = call(&mut connection, "x").await.expect_err("it was early");
        assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
        assert_eq!(error.to_string(), unasked);
        assert_eq!(within(peer.rest()).await, b"");
    }

    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let both = [message_of(1, "right"), message_of(2, "early")].concat();
    let server = play(peer, [expects(message_of(1, "a")), sends(both)]);
    let reply = call(&mut connection, "a").await;
    assert_eq!(reply.expect("a reply"), "right");
    let error = call(&mut connection, "b").await.expect_err("it was early");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    server.finished().await;
}

#[tokio::test]
async fn what_began_before_a_request_is_no_reply_to_it() {
    let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
    let (first, rest) = {
        let early = message_of(1, "stray");
        (early[..6].to_vec(), early[6..].to_vec())
    };
    peer.send(first).await;
    let server = play(peer, [expects(message_of(1, "x")), sends(rest)]);
    let error = call(&mut connection, "x").await.expect_err("it was early");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
    server.finished().await;
}

#[tokio::test]
async fn request_of_which_nothing_was_sent_is_neither_sent_nor_cancelled() {
    let (mut connection, mut peer) = memory::connection::<Multiplexed>(12);
    // Its first bytes fill the pipe.
    begin(&mut connection, "twelve").await;
    begin(&mut connection, "never sent").await;
    let rest = [
        message_of(1, "twelve"),
        control_of(1, CANCEL, ""),
        message_of(3, "last"),
    ];
    let server = play(
        peer_of(&mut peer),
        [expects(rest.concat()), sends(message_of(3, "ok"))],
    );
    assert_eq!(call(&mut connection, "last").await.expect("a reply"), "ok");
    server.finished().await;
}

/// Takes a peer out of its place.
fn peer_of(peer: &mut RawPeer) -> RawPeer {
    std::mem::replace(peer, RawPeer::over(tokio::io::duplex(1).0))
}

#[tokio::test(start_paused = true)]
async fn deadline_goes_before_the_request_and_a_late_call_is_cancelled() {
    let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
    let late = connection
        .deadline(Duration::from_secs(2))
        .call::<Texts>("slow");
    let error = late.await.expect_err("no reply comes");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    let milliseconds = 2_001_u32.to_be_bytes();
    let sent = [
        control_of(1, DEADLINE, milliseconds),
        message_of(1, "slow"),
        control_of(1, CANCEL, ""),
    ];
    receives(&mut peer, sent.concat()).await;
    let server = play(
        peer,
        [
            expects(message_of(2, "x")),
            sends(control_of(1, 0x05, "")),
            sends(message_of(2, "X")),
        ],
    );
    assert_eq!(call(&mut connection, "x").await.expect("a reply"), "X");
    server.finished().await;
}

#[tokio::test]
async fn reply_in_parts_is_one_message() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(announced_of(1, PARTS, "one ")),
            sends(announced_of(0, EVENTS, "*event")),
            sends(announced_of(1, PARTS, "two ")),
            sends(message_of(1, "three")),
            expects(message_of(2, "b")),
            sends(announced_of(2, PARTS, "never seen")),
            sends(control_of(2, 0x06, "it broke")),
            expects(message_of(3, "c")),
            sends(message_of(3, "whole")),
        ],
    );
    assert_eq!(
        call(&mut connection, "a").await.expect("a reply"),
        "one two three"
    );
    let event = within(connection.next_event::<Texts>()).await;
    assert_eq!(event.expect("an event"), "*event");
    let error = call(&mut connection, "b")
        .await
        .expect_err("it was rejected");
    let kind = error.rejection().map(tcs::Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::Failed));
    assert_eq!(call(&mut connection, "c").await.expect("a reply"), "whole");
    server.finished().await;
}

#[tokio::test]
async fn event_after_a_reply_in_parts_is_not_the_reply() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(announced_of(1, PARTS, "one ")),
            sends(message_of(1, "two")),
            sends(announced_of(0, EVENTS, "*event")),
        ],
    );
    assert_eq!(
        call(&mut connection, "a").await.expect("a reply"),
        "one two"
    );
    let event = within(connection.next_event::<Texts>()).await;
    assert_eq!(event.expect("an event"), "*event");
    server.finished().await;
}

#[tokio::test]
async fn parts_beyond_the_limit_are_an_error_and_their_rest_is_skipped() {
    let options = ConnectOptions::new().max_frame_len(8);
    let (mut connection, peer) = memory::connection_with::<Multiplexed>(&options, 1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(announced_of(1, PARTS, "12345")),
            sends(announced_of(1, PARTS, "67890")),
            sends(announced_of(1, PARTS, "more")),
            sends(message_of(1, "rest")),
            expects(message_of(2, "b")),
            sends(announced_of(2, PARTS, "12345")),
            sends(message_of(2, "678")),
            expects(message_of(3, "c")),
            sends(announced_of(3, PARTS, "12345")),
            sends(message_of(3, "6789")),
            expects(message_of(4, "d")),
            sends(message_of(4, "D")),
        ],
    );
    for (request, reply) in [
        ("a", None),
        ("b", Some("12345678")),
        ("c", None),
        ("d", Some("D")),
    ] {
        let found = call(&mut connection, request).await;
        if let Some(reply) = reply {
            assert_eq!(found.expect("a reply"), reply);
        } else {
            let error = found.expect_err("it is too large");
            assert_eq!(error.kind(), ErrorKind::Reply, "{:?}", chain(&error));
        }
    }
    // Nothing is owed.
    assert!(connection.into_parts().is_ok());
    server.finished().await;
}

#[tokio::test]
async fn part_that_is_longer_than_a_reply_may_be_is_an_error_of_its_call() {
    let (mut connection, peer) =
        memory::connection_with::<Multiplexed>(&ConnectOptions::new().max_reply_len(10), 1 << 20);
    let part = "x".repeat(64 << 10);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(announced_of(1, PARTS, &part)),
            sends(announced_of(1, PARTS, &part)),
            sends(message_of(1, "the rest")),
            expects(message_of(2, "b")),
            sends(message_of(2, "12345678901")),
            expects(message_of(3, "c")),
            sends(message_of(3, "C")),
        ],
    );
    for (request, length) in [("a", "65536 bytes"), ("b", "11 bytes")] {
        let error = call(&mut connection, request).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Reply, "{error}");
        assert!(chain(&error).concat().contains(length), "{error:?}");
    }
    assert_eq!(call(&mut connection, "c").await.expect("a reply"), "C");
    server.finished().await;
}

#[tokio::test]
async fn stream_returns_credit_for_half_of_what_may_be_sent() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let item = "i".repeat(64 * 1024 - 8);
    let server = play(
        peer,
        [
            expects(message_of(1, "go")),
            sends(announced_of(1, ITEMS, &item)),
            sends(announced_of(1, ITEMS, &item)),
            expects(control_of(1, CREDIT, (128 * 1024_u32).to_be_bytes())),
            sends(announced_of(1, ITEMS, &item)),
            sends(message_of(1, "end")),
            expects(message_of(2, "more")),
            sends(message_of(2, "yes")),
        ],
    );
    let mut stream = within(connection.stream::<Texts>("go"))
        .await
        .expect("it is open");
    for _ in 0..3 {
        let received = patiently(stream.next()).await.expect("no error");
        assert_eq!(received.map(str::len), Some(item.len()));
    }
    assert_eq!(patiently(stream.next()).await.expect("no error"), None);
    assert_eq!(within(stream.finish()).await.expect("a reply"), "end");
    assert_eq!(call(&mut connection, "more").await.expect("a reply"), "yes");
    server.finished().await;
}

#[tokio::test]
async fn stream_may_end_with_a_reply_in_parts() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "go")),
            sends(announced_of(1, PARTS, "the ")),
            sends(announced_of(1, ITEMS, "item")),
            sends(message_of(1, "end")),
        ],
    );
    let mut stream = within(connection.stream::<Texts>("go"))
        .await
        .expect("it is open");
    assert_eq!(
        patiently(stream.next()).await.expect("no error"),
        Some("item")
    );
    assert_eq!(patiently(stream.next()).await.expect("no error"), None);
    assert_eq!(within(stream.finish()).await.expect("a reply"), "the end");
    server.finished().await;
}

#[tokio::test]
async fn dropped_stream_is_cancelled_by_the_next_use() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "go")),
            sends(announced_of(1, ITEMS, "one")),
            expects([control_of(1, CANCEL, ""), message_of(2, "next")].concat()),
            sends(announced_of(1, ITEMS, "two")),
            sends(control_of(1, 0x07, "")),
            sends(message_of(2, "done")),
        ],
    );
    let mut stream = within(connection.stream::<Texts>("go"))
        .await
        .expect("it is open");
    assert_eq!(
        patiently(stream.next()).await.expect("no error"),
        Some("one")
    );
    drop(stream);
    assert_eq!(
        call(&mut connection, "next").await.expect("a reply"),
        "done"
    );
    server.finished().await;
}

#[tokio::test]
async fn call_that_gets_items_is_cancelled() {
    let (mut connection, peer) = memory::connection::<Multiplexed>(1 << 20);
    let server = play(
        peer,
        [
            expects(message_of(1, "a")),
            sends(announced_of(1, ITEMS, "one")),
            expects([control_of(1, CANCEL, ""), message_of(2, "b")].concat()),
            sends(message_of(1, "end")),
            sends(message_of(2, "B")),
        ],
    );
    let error = call(&mut connection, "a")
        .await
        .expect_err("it is a stream");
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert_eq!(call(&mut connection, "b").await.expect("a reply"), "B");
    server.finished().await;
}

#[tokio::test]
async fn message_of_no_request_closes_the_connection_unless_it_is_waited_for() {
    let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
    peer.send(message_of(0, "welcome")).await;
    let greeting = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(greeting.expect("a greeting"), "welcome");
    let server = play(
        peer,
        [expects(message_of(1, "a")), sends(message_of(0, "A"))],
    );
    let error = call(&mut connection, "a").await.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
    server.finished().await;
}

#[tokio::test]
async fn stream_of_a_connection_is_free_once_late_replies_have_come() {
    for has_come in [false, true] {
        let (mut connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
        begin(&mut connection, "slow").await;
        receives(
            &mut peer,
            [message_of(1, "slow"), control_of(1, CANCEL, "")].concat(),
        )
        .await;
        if has_come {
            peer.send(control_of(1, 0x07, "")).await;
        }
        let server = play(
            peer,
            [expects(message_of(2, "x")), sends(message_of(2, "X"))],
        );
        assert_eq!(call(&mut connection, "x").await.expect("a reply"), "X");
        assert_eq!(connection.into_parts().is_ok(), has_come);
        server.finished().await;
    }
}

#[tokio::test]
async fn halves_have_one_request_in_flight() {
    let (connection, mut peer) = memory::connection::<Multiplexed>(1 << 20);
    let (mut sender, mut receiver) = connection.split::<Texts>();
    let sending = tokio::spawn(async move {
        for request in ["a", "b"] {
            sender.send(request).await.expect("it is open");
        }
    });
    receives(&mut peer, message_of(1, "a")).await;
    peer.send(announced_of(0, EVENTS, "*event")).await;
    peer.send(announced_of(1, PARTS, "A")).await;
    let event = within(receiver.next()).await.expect("an event");
    assert_eq!(event, ReplyOrEvent::Event("*event"));
    peer.send(message_of(1, "A")).await;
    assert_eq!(
        within(receiver.receive()).await.expect("a reply"),
        Some("AA")
    );
    receives(&mut peer, message_of(2, "b")).await;
    peer.send(message_of(2, "B")).await;
    assert_eq!(
        within(receiver.receive()).await.expect("a reply"),
        Some("B")
    );
    within(sending).await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn late_replies_do_not_extend_the_reply_timeout() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(10));
    let (mut connection, mut peer) = memory::connection_with::<Multiplexed>(&options, 1 << 20);
    begin(&mut connection, "slow").await;
    let began = Instant::now();
    let flood = tokio::spawn(async move {
        for _ in 0..60 {
            advance(Duration::from_secs(1)).await;
            if peer.try_send(announced_of(1, ITEMS, "late")).await.is_err() {
                return;
            }
        }
    });
    let error = connection.call::<Texts>("x").await.expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    drop(connection);
    flood.await.expect("no panic");
}

#[server_protocol(framing = Multiplexed, greeting = "welcome")]
fn double(n: u32) -> Result<u32, String> {
    n.checked_mul(2).ok_or_else(|| "too much".to_owned())
}

#[tokio::test]
async fn server_answers_with_the_id_of_each_request() {
    let server = start(ConcurrentServer::new(Double).max_frame_len(16)).await;
    let mut connection = Connection::<Multiplexed>::connect(server.addr())
        .await
        .expect("it listens");
    assert_eq!(
        within(connection.call::<Double>(21))
            .await
            .expect("a reply"),
        42
    );
    let error = within(connection.call::<Double>(u32::MAX))
        .await
        .expect_err("too much");
    assert_eq!(error.rejection().expect("a rejection").text(), "too much");
    assert_eq!(
        within(connection.call::<Double>(4)).await.expect("a reply"),
        8
    );

    let mut peer = RawPeer::connect(server.addr()).await;
    peer.send(
        [
            control_of(9, CANCEL, ""),
            message_of(9, "1"),
            control_of(0, 0x80, ""),
            message_of(4, "x"),
            message_of(u32::MAX, "1".repeat(17)),
            message_of(7, "3"),
            message_of(0, "4"),
        ]
        .concat(),
    )
    .await;
    let expected = [
        message_of(0, "welcome"),
        message_of(9, "2"),
        control_of(4, 0x02, ""),
        control_of(u32::MAX, 0x03, ""),
        message_of(7, "6"),
        control_of(0, 0x43, ""),
    ];
    let mut rest = &within(peer.rest()).await[..];
    for frame in expected {
        // The texts of rejections are for people.
        let is_control = frame[0] >= 0x80;
        assert_eq!(rest[4..8], frame[4..8], "{}", rest.escape_ascii());
        if is_control {
            assert_eq!(rest[8], frame[8], "{}", rest.escape_ascii());
        } else {
            assert_eq!(rest[..frame.len()], frame[..], "{}", rest.escape_ascii());
        }
        let length = u32::from_be_bytes([rest[0] & 0x7f, rest[1], rest[2], rest[3]]);
        rest = &rest[8 + usize::try_from(length).expect("it is small")..];
    }
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
}

#[tokio::test]
async fn connection_with_too_many_late_replies_is_given_up() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (mut connection, mut peer) = memory::connection_with::<Multiplexed>(&options, 1 << 16);
    for _ in 0..3 {
        begin(&mut connection, "x").await;
    }
    // This one has come.
    peer.send(control_of(2, 0x07, "")).await;
    begin(&mut connection, "x").await;
    let error = call(&mut connection, "y").await.expect_err("3 are late");
    assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    assert!(error.to_string().contains("max_in_flight"), "{error}");
}
