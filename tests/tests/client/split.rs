//! The two halves of a connection.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tcs::{
    ConcurrentServer, Connection, Error, ErrorKind, Execution,
    client::{ConnectOptions, Receiver, ReplyOrEvent, Sender},
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Contract, Push},
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    client::{Prefixed, events, hears, items, told},
    code, control, frame, memory, patiently, start, within,
};
use tokio::{
    task::yield_now,
    time::{Instant, advance},
};

const SECOND: Duration = Duration::from_secs(1);

fn halves(options: &ConnectOptions) -> (Sender<Prefixed>, Receiver<Prefixed>, RawPeer) {
    let (connection, peer) = memory::connection_with(options, 64);
    let (sender, receiver) = connection.split();
    (sender, receiver, peer)
}

/// Receives a reply (`Ok`), or an event (`Err`).
async fn next(receiver: &mut Receiver<Prefixed>) -> Result<Result<String, String>, Error> {
    Ok(match patiently(receiver.next()).await? {
        ReplyOrEvent::Reply(reply) => Ok(reply.to_owned()),
        ReplyOrEvent::Event(event) => Err(event.to_owned()),
        other => panic!("{other:?}"),
    })
}

async fn reply(receiver: &mut Receiver<Prefixed>) -> Result<Option<String>, Error> {
    let reply = patiently(receiver.receive()).await?;
    Ok(reply.map(str::to_owned))
}

/// Polls once, which waits, and drops the future.
async fn waits<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn replies_and_events_arrive_in_order() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    for request in ["1", "2"] {
        within(sender.send(request)).await.expect("there is room");
        hears(&mut peer, request).await;
    }
    peer.send([events(&["a"]), frame("one"), events(&["b"]), frame("two")].concat())
        .await;
    for message in [Err("a"), Ok("one"), Err("b"), Ok("two")] {
        let next = next(&mut receiver).await.expect("a message");
        assert_eq!(next.as_deref().map_err(|event| &**event), message);
    }
}

#[tokio::test]
async fn events_are_kept_while_replies_are_received() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    within(sender.send("1")).await.expect("there is room");
    peer.send([events(&["a", "b"]), frame("one")].concat())
        .await;
    assert_eq!(
        reply(&mut receiver).await.expect("a reply").as_deref(),
        Some("one")
    );
    for event in ["a", "b"] {
        assert_eq!(
            next(&mut receiver).await.expect("an event"),
            Err(event.to_owned())
        );
    }
}

#[tokio::test]
async fn receiver_that_waits_gets_the_reply_to_a_later_request() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    let receiving = tokio::spawn(async move { reply(&mut receiver).await });
    yield_now().await;
    within(sender.send("1")).await.expect("there is room");
    hears(&mut peer, "1").await;
    peer.send(frame("one")).await;
    let reply = within(receiving).await.expect("no panic");
    assert_eq!(reply.expect("a reply").as_deref(), Some("one"));
}

#[tokio::test]
async fn large_request_is_sent_while_large_replies_are_received() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    let large = "x".repeat(200_000);
    let request = large.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..3 {
            patiently(sender.send(&request)).await.expect("it is open");
        }
    });
    let sent = frame(&large);
    let server = tokio::spawn(async move {
        for _ in 0..3 {
            // It replies before it reads on.
            peer.receive(1).await;
            peer.send(&sent).await;
            peer.receive(sent.len() - 1).await;
        }
        peer
    });
    for _ in 0..3 {
        let reply = reply(&mut receiver).await.expect("a reply");
        assert_eq!(reply.as_deref(), Some(&*large));
    }
    within(sending).await.expect("no panic");
    drop(within(server).await.expect("no panic"));
}

#[tokio::test]
async fn sender_waits_while_the_most_requests_are_in_flight() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (mut sender, mut receiver, mut peer) = halves(&options);
    for request in ["1", "2"] {
        within(sender.send(request)).await.expect("there is room");
    }
    waits(sender.send("never")).await;
    let sending = tokio::spawn(async move {
        let sent = within(sender.send("3")).await;
        (sender, sent)
    });
    yield_now().await;
    peer.send(frame("one")).await;
    assert_eq!(
        reply(&mut receiver).await.expect("a reply").as_deref(),
        Some("one")
    );
    let (sender, sent) = within(sending).await.expect("no panic");
    sent.expect("there is room");
    for request in ["1", "2", "3"] {
        hears(&mut peer, request).await;
    }
    drop(sender);
    peer.send([frame("two"), frame("three")].concat()).await;
    for text in [Some("two"), Some("three"), None, None] {
        assert_eq!(
            reply(&mut receiver).await.expect("a reply").as_deref(),
            text
        );
    }
}

#[tokio::test]
async fn dropped_waits_lose_nothing() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    within(sender.send("1")).await.expect("there is room");
    for byte in [events(&["a"]), frame("one")].concat() {
        waits(receiver.receive()).await;
        peer.send([byte]).await;
    }
    assert_eq!(
        next(&mut receiver).await.expect("an event"),
        Err("a".to_owned())
    );
    assert_eq!(
        next(&mut receiver).await.expect("a reply"),
        Ok("one".to_owned())
    );

    // A request that is sent in part is sent to its end.
    let large = "x".repeat(1_000);
    waits(sender.send(&large)).await;
    let all = [frame("1"), frame(&large)].concat();
    let reading = tokio::spawn(async move {
        assert!(peer.receive(all.len()).await == all);
        peer
    });
    waits(receiver.receive()).await;
    within(async {
        while !reading.is_finished() {
            yield_now().await;
            waits(receiver.receive()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn receiver_goes_on_without_the_sender() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    within(sender.send("1")).await.expect("there is room");
    let receiving = tokio::spawn(async move {
        let replies = [reply(&mut receiver).await, reply(&mut receiver).await];
        (receiver, replies.map(|reply| reply.expect("no error")))
    });
    peer.send(frame("one")).await;
    yield_now().await;
    drop(sender);
    let (mut receiver, replies) = within(receiving).await.expect("no panic");
    assert_eq!(replies, [Some("one".to_owned()), None]);
    peer.send(events(&["a"])).await;
    assert_eq!(
        next(&mut receiver).await.expect("an event"),
        Err("a".to_owned())
    );
    hears(&mut peer, "1").await;
    drop(receiver);
    assert_eq!(within(peer.rest()).await, b"");
}

#[tokio::test]
async fn nothing_is_sent_without_the_receiver() {
    let (mut sender, receiver, mut peer) = halves(&ConnectOptions::new());
    drop(receiver);
    let error = within(sender.send("1")).await.expect_err("no receiver");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    drop(sender);
    assert_eq!(within(peer.rest()).await, b"");
}

#[tokio::test(start_paused = true)]
async fn sender_of_a_part_of_a_request_does_not_wait_without_the_receiver() {
    let (mut sender, receiver, mut peer) = halves(&ConnectOptions::new());
    let began = Instant::now();
    let sending = tokio::spawn(async move {
        let large = "x".repeat(1_000);
        let error = sender.send(&large).await.expect_err("no receiver");
        (told(&error), sender)
    });
    peer.receive(1).await;
    drop(receiver);
    let (told, sender) = within(sending).await.expect("no panic");
    assert_eq!(told, (ErrorKind::Broken, Execution::Unknown));
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_is_for_requests_and_not_for_events() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut sender, mut receiver, mut peer) = halves(&options);
    waits(receiver.next()).await;
    advance(3_600 * SECOND).await;
    waits(receiver.next()).await;
    peer.send(events(&["late"])).await;
    assert_eq!(
        next(&mut receiver).await.expect("an event"),
        Err("late".to_owned())
    );

    within(sender.send("1")).await.expect("there is room");
    let began = Instant::now();
    let error = next(&mut receiver).await.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
    let error = within(sender.send("2")).await.expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_begins_with_a_request_also_if_the_receiver_waits_already() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut sender, mut receiver, _peer) = halves(&options);
    let receiving = tokio::spawn(async move { next(&mut receiver).await });
    yield_now().await;
    within(sender.send("1")).await.expect("there is room");
    let began = Instant::now();
    let error = patiently(receiving).await.expect("no panic");
    let error = error.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_read_fails_both_halves_at_the_reply_timeout() {
    let options = ConnectOptions::new().reply_timeout(10 * SECOND);
    let (mut sender, mut receiver, _peer) = halves(&options);
    let large = "x".repeat(1_000);
    let began = Instant::now();
    patiently(sender.send(&large))
        .await
        .expect("its result is received");
    assert_eq!(began.elapsed(), 10 * SECOND);
    let error = reply(&mut receiver).await.expect_err("no reply");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
}

#[tokio::test]
async fn each_request_in_flight_has_an_error_when_the_connection_ends() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    for request in ["1", "2", "3"] {
        within(sender.send(request)).await.expect("there is room");
    }
    peer.send([frame("one"), control(code::ERROR, "no")].concat())
        .await;
    drop(peer);
    assert_eq!(
        next(&mut receiver).await.expect("a reply"),
        Ok("one".to_owned())
    );
    let kinds = [ErrorKind::Rejected, ErrorKind::Closed, ErrorKind::Closed];
    for kind in kinds {
        let error = next(&mut receiver).await.expect_err("no reply");
        assert_eq!(error.kind(), kind);
    }
    let error = within(sender.send("4")).await.expect_err("it is closed");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
}

#[tokio::test]
async fn message_that_was_there_before_a_request_is_not_its_reply() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    peer.send(frame("stray")).await;
    within(sender.send("1")).await.expect("nobody has looked");
    let error = reply(&mut receiver).await.expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::Broken);
}

#[tokio::test]
async fn items_are_the_error_of_one_request() {
    let (mut sender, mut receiver, mut peer) = halves(&ConnectOptions::new());
    for request in ["1", "2"] {
        within(sender.send(request)).await.expect("there is room");
    }
    peer.send([items(&["a", "b"]), frame("one"), frame("two")].concat())
        .await;
    let error = reply(&mut receiver).await.expect_err("items");
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert_eq!(
        reply(&mut receiver).await.expect("a reply").as_deref(),
        Some("two")
    );
}

/// Begins with a greeting.
#[derive(Debug)]
enum Greeting {}

impl Contract for Greeting {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
    const HAS_GREETING: bool = true;
}

#[tokio::test]
async fn sender_waits_for_the_greeting_that_the_receiver_drops() {
    let (connection, mut peer) = memory::connection(64);
    let (mut sender, mut receiver) = connection.split::<Greeting>();
    waits(sender.send("never")).await;
    let sending = async {
        within(sender.send("1")).await.expect("it is open");
    };
    let server = async {
        peer.send(frame("welcome")).await;
        hears(&mut peer, "1").await;
        peer.send(frame("one")).await;
    };
    let ((), (), reply) = tokio::join!(sending, server, within(receiver.receive()));
    assert_eq!(reply.expect("a reply"), Some("one"));
}

#[tokio::test]
async fn rejection_in_place_of_the_greeting_is_told_once() {
    let (connection, mut peer) = memory::connection(64);
    let (mut sender, mut receiver) = connection.split::<Greeting>();
    peer.send(control(code::BUSY, "not now")).await;
    let error = within(receiver.receive()).await.expect_err("a rejection");
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotSent));
    assert_eq!(error.rejection().expect("a rejection").text(), "not now");
    let server = async {
        hears(&mut peer, "1").await;
        peer.send(frame("one")).await;
    };
    let (sent, (), reply) =
        tokio::join!(within(sender.send("1")), server, within(receiver.receive()));
    sent.expect("it is open");
    assert_eq!(reply.expect("a reply"), Some("one"));
}

/// Doubles a number, and tells its half.
#[server_protocol(push = u32)]
fn double(n: u32, push: Push<Double>) -> Result<u32, String> {
    push.try_send(n / 2)?;
    Ok(n * 2)
}

#[tokio::test]
async fn halves_of_a_connection_over_tcp_work_in_two_tasks() {
    let server = start(ConcurrentServer::new(Double)).await;
    let connection = within(Connection::connect(server.addr()))
        .await
        .expect("it listens");
    let (mut sender, mut receiver) = connection.split::<Double>();
    let sending = tokio::spawn(async move {
        for n in 0..10_000 {
            within(sender.send(n)).await.expect("it is open");
        }
    });
    let (mut doubles, mut halves) = (0..10_000_u32, 0..10_000_u32);
    while doubles.len() + halves.len() > 0 {
        match within(receiver.next()).await.expect("a message") {
            ReplyOrEvent::Reply(double) => assert_eq!(Some(double), doubles.next().map(|n| n * 2)),
            ReplyOrEvent::Event(half) => assert_eq!(Some(half), halves.next().map(|n| n / 2)),
            other => panic!("{other:?}"),
        }
    }
    within(sending).await.expect("no panic");
}
