//! A call that is dropped or late leaves its connection usable, and its reply reaches nobody.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tcs::{
    Connection, Error, ErrorKind, Execution,
    client::ConnectOptions,
    format::Plain,
    framing::{LengthPrefixed, Raw},
    protocol::{CallContract, Contract},
};
use tcs_tests::{
    Heard, RawPeer,
    client::{Prefixed, Text, hears, told},
    control, frame, memory, patiently,
    pipeline::{receive, send},
    script::{Step, expects, expects_end, play, receives, sends},
    within,
};
use tokio::time::{Instant, advance, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const NOT_SENT: (ErrorKind, Execution) = (ErrorKind::Broken, Execution::NotSent);

/// How a call is left.
#[derive(Clone, Copy, Debug)]
enum Left {
    Dropped,
    Late,
}

const EACH: [Left; 2] = [Left::Dropped, Left::Late];

/// Begins a call that gets no reply now, and leaves it. A late one tells this of its request.
async fn leave(
    connection: &mut Connection<LengthPrefixed>,
    request: &str,
    left: Left,
    execution: Execution,
) {
    match left {
        Left::Dropped => begin::<Prefixed>(connection, request).await,
        Left::Late => {
            let call = connection.deadline(SECOND).call::<Prefixed>(request);
            let error = within(call).await.expect_err("no reply comes");
            assert_eq!(told(&error), (ErrorKind::TimedOut, execution));
        }
    }
}

/// Polls a call once.
async fn begin<P>(connection: &mut Connection<P::Framing>, request: &str)
where
    P: for<'a> CallContract<Request<'a> = &'a str>,
{
    let mut call = pin!(connection.call::<P>(request));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn reply(connection: &mut Connection<LengthPrefixed>, request: &str) -> String {
    let reply = patiently(connection.call::<Prefixed>(request)).await;
    reply.expect("a reply").to_owned()
}

async fn failure(connection: &mut Connection<LengthPrefixed>, request: &str) -> Error {
    let reply = patiently(connection.call::<Prefixed>(request)).await;
    reply.expect_err("no reply")
}

#[tokio::test(start_paused = true)]
async fn request_of_which_nothing_was_sent_never_arrives() {
    for left in EACH {
        // There is room for one request.
        let (mut connection, peer) = memory::connection(frame("1").len());
        leave(&mut connection, "1", left, Execution::Unknown).await;
        for request in ["never", "no"] {
            leave(&mut connection, request, left, Execution::NotSent).await;
        }
        let steps = [
            expects(frame("1")),
            expects(frame("two")),
            sends([frame("one"), frame("2")].concat()),
            expects_end(),
        ];
        let server = play(peer, steps);
        assert_eq!(reply(&mut connection, "two").await, "2");
        drop(connection);
        server.finished().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rest_of_a_request_is_sent_before_the_next_one() {
    for left in EACH {
        let (mut connection, peer) = memory::connection(64);
        let large = "x".repeat(1_000);
        leave(&mut connection, &large, left, Execution::Unknown).await;
        let steps = [
            expects(frame(&large)),
            expects(frame("two")),
            sends([frame("large"), frame("2")].concat()),
        ];
        let _server = play(peer, steps);
        assert_eq!(reply(&mut connection, "two").await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_a_call_that_was_left_is_skipped_whenever_it_comes() {
    let (first, second) = (frame("the first"), frame("the second"));
    let cases: [&[Step]; 4] = [
        &[sends(&first), expects(frame("two")), sends(&second)],
        &[expects(frame("two")), sends(&first), sends(&second)],
        &[expects(frame("two")), sends([&*first, &*second].concat())],
        &[
            sends(&first[..6]),
            expects(frame("two")),
            sends([&first[6..], &second[..6]].concat()),
            sends(&second[6..]),
        ],
    ];
    for left in EACH {
        for steps in cases {
            let (mut connection, mut peer) = memory::connection(1 << 10);
            leave(&mut connection, "one", left, Execution::Unknown).await;
            hears(&mut peer, "one").await;
            let server = play(peer, steps.iter().cloned());
            // What it sends at once is there.
            sleep(SECOND).await;
            assert_eq!(reply(&mut connection, "two").await, "the second");
            let mut peer = server.peer().await;
            let server = async {
                hears(&mut peer, "three").await;
                peer.send(frame("the third")).await;
            };
            let (third, ()) = tokio::join!(reply(&mut connection, "three"), server);
            assert_eq!(third, "the third");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reply_of_each_kind_is_skipped() {
    let options = ConnectOptions::new().max_frame_len(100);
    for kind in [
        frame("a reply"),
        control(0x01, "an error"),
        control(0x04, "busy"),
        frame([b'x'; 300]),
    ] {
        let (mut connection, mut peer) = memory::connection_with(&options, 64);
        leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
        leave(&mut connection, "two", Left::Late, Execution::Unknown).await;
        hears(&mut peer, "one").await;
        let steps = [
            sends(&kind),
            expects(frame("two")),
            expects(frame("three")),
            sends([kind, frame("3")].concat()),
        ];
        let _server = play(peer, steps);
        assert_eq!(reply(&mut connection, "three").await, "3");
    }
}

#[tokio::test(start_paused = true)]
async fn final_rejection_of_a_call_that_was_left_is_that_of_the_next() {
    let (mut connection, mut peer) = memory::connection(64);
    leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
    within(peer.send(control(0x40, "going away"))).await;
    let error = failure(&mut connection, "two").await;
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    hears(&mut peer, "one").await;
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test(start_paused = true)]
async fn message_beyond_those_to_skip_closes_the_connection() {
    let unexpected =
        "the connection to unnamed peer is closed: the server sent an unexpected message";
    for left in EACH {
        let (mut connection, mut peer) = memory::connection(1 << 10);
        for request in ["one", "two"] {
            leave(&mut connection, request, left, Execution::Unknown).await;
            hears(&mut peer, request).await;
        }
        within(peer.send([frame("1"), frame("2"), frame("stray")].concat())).await;
        let error = failure(&mut connection, "three").await;
        assert_eq!(told(&error), NOT_SENT);
        assert_eq!(error.to_string(), unexpected);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_closes_while_a_reply_is_to_come_gets_no_further_request() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
    hears(&mut peer, "one").await;
    drop(peer);
    let error = failure(&mut connection, "two").await;
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
}

#[tokio::test(start_paused = true)]
async fn more_replies_than_may_be_in_flight_close_the_connection_when_they_are_missing() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    // As many as you like, if they come.
    for _ in 0..10 {
        leave(&mut connection, "x", Left::Dropped, Execution::Unknown).await;
        hears(&mut peer, "x").await;
        within(peer.send(frame("y"))).await;
    }
    for _ in 0..3 {
        leave(&mut connection, "x", Left::Dropped, Execution::Unknown).await;
        hears(&mut peer, "x").await;
    }
    let error = failure(&mut connection, "x").await;
    assert_eq!(told(&error), NOT_SENT);
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: too many replies are missing (`max_in_flight`)"
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test(start_paused = true)]
async fn pipeline_skips_the_replies_of_calls_that_were_left() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    leave(&mut connection, "one", Left::Late, Execution::Unknown).await;
    leave(&mut connection, "two", Left::Dropped, Execution::Unknown).await;
    let mut pipeline = connection.pipeline::<Prefixed>();
    assert!(!pipeline.is_full());
    send(&mut pipeline, &["three"]).await;
    assert_eq!(pipeline.in_flight(), 1);
    // The calls that were left are in flight as well.
    assert!(pipeline.is_full());
    assert!(within(pipeline.flush()).await);
    for request in ["one", "two", "three"] {
        hears(&mut peer, request).await;
    }
    within(peer.send([frame("1"), frame("2"), frame("3")].concat())).await;
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "3");
    assert!(!pipeline.is_full());

    within(peer.send(frame("stray"))).await;
    let error = within(pipeline.send("four")).await.expect_err("a message");
    assert_eq!(told(&error), NOT_SENT);
}

#[tokio::test(start_paused = true)]
async fn flush_has_its_own_time_after_requests_were_removed() {
    let (mut connection, mut peer) = memory::connection(frame("1").len());
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["1", "2"]).await;
    let flush = timeout(SECOND, pipeline.flush());
    flush.await.expect_err("there is room for the first");
    hears(&mut peer, "1").await;
    within(peer.send(frame("a"))).await;
    advance(60 * SECOND).await;

    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["3", "4"]).await;
    let server = async {
        sleep(SECOND).await;
        hears(&mut peer, "3").await;
        hears(&mut peer, "4").await;
        peer.send(frame("c")).await;
    };
    tokio::join!(pipeline.flush(), server);
    assert_eq!(receive(&mut pipeline).await.expect("a reply"), "c");
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_goes_on_while_replies_are_to_be_skipped() {
    let options = ConnectOptions::new().reply_timeout(3 * SECOND);
    let timed_out = (ErrorKind::TimedOut, Execution::Unknown);

    // It ends a later call.
    let (mut connection, _peer) = memory::connection_with(&options, 1 << 10);
    let began = Instant::now();
    leave(&mut connection, "one", Left::Late, Execution::Unknown).await;
    leave(&mut connection, "two", Left::Dropped, Execution::Unknown).await;
    let error = failure(&mut connection, "three").await;
    assert_eq!((told(&error), began.elapsed()), (timed_out, 3 * SECOND));

    // Or it is over before a later call.
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
    advance(3 * SECOND).await;
    let error = failure(&mut connection, "two").await;
    assert_eq!(told(&error), NOT_SENT);
    hears(&mut peer, "one").await;
    assert_eq!(within(peer.hear()).await, Heard::End);

    // A reply begins it anew, also one that has been there for long.
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    leave(&mut connection, "one", Left::Late, Execution::Unknown).await;
    leave(&mut connection, "two", Left::Dropped, Execution::Unknown).await;
    within(peer.send(frame("1"))).await;
    advance(9 * SECOND).await;
    let began = Instant::now();
    let error = failure(&mut connection, "three").await;
    assert_eq!((told(&error), began.elapsed()), (timed_out, 3 * SECOND));

    // It is over with the last of them, or with requests that were removed.
    let (mut connection, mut peer) = memory::connection_with(&options, frame("1").len());
    leave(&mut connection, "1", Left::Dropped, Execution::Unknown).await;
    leave(&mut connection, "2", Left::Dropped, Execution::NotSent).await;
    within(peer.send(frame("1"))).await;
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["3"]).await;
    advance(9 * SECOND).await;
    let began = Instant::now();
    let error = failure(&mut connection, "4").await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    assert_eq!(began.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn deadline_limits_the_next_call_and_says_so() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    let began = Instant::now();
    let call = connection.deadline(2 * SECOND).call::<Prefixed>("one");
    let error = within(call).await.expect_err("no reply");
    assert_eq!(began.elapsed(), 2 * SECOND);
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    let late = "no complete message from unnamed peer within 2s (`deadline`)";
    assert_eq!(error.to_string(), late);
    hears(&mut peer, "one").await;

    // Only that one.
    let server = async {
        hears(&mut peer, "two").await;
        sleep(4 * SECOND).await;
        peer.send([frame("1"), frame("2")].concat()).await;
    };
    let (second, ()) = tokio::join!(reply(&mut connection, "two"), server);
    assert_eq!(second, "2");

    // Nothing is sent without time, whatever it is for.
    let error = within(
        connection
            .deadline(Duration::ZERO)
            .call::<Prefixed>("three"),
    )
    .await;
    let error = told(&error.expect_err("no time"));
    assert_eq!(error, (ErrorKind::TimedOut, Execution::NotSent));
    let server = async {
        hears(&mut peer, "four").await;
        peer.send(frame("4")).await;
    };
    let call = connection.deadline(Duration::MAX).call::<Prefixed>("four");
    let (fourth, ()) = tokio::join!(call, server);
    assert_eq!(fourth.expect("a reply"), "4");
}

#[tokio::test(start_paused = true)]
async fn deadline_may_be_earlier_or_later_than_those_before() {
    let (mut connection, _peer) = memory::connection(1 << 10);
    for seconds in [9, 1, 5, 2] {
        let began = Instant::now();
        let call = connection.deadline(seconds * SECOND).call::<Prefixed>("x");
        within(call).await.expect_err("no reply");
        assert_eq!(began.elapsed(), seconds * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn shorter_reply_timeout_closes_the_connection() {
    let options = ConnectOptions::new().reply_timeout(SECOND);
    let (mut connection, mut peer) = memory::connection_with(&options, 1 << 10);
    let call = connection.deadline(2 * SECOND).call::<Prefixed>("one");
    let error = within(call).await.expect_err("no reply");
    assert!(error.to_string().ends_with("within 1s (`reply_timeout`)"));
    hears(&mut peer, "one").await;
    assert_eq!(within(peer.hear()).await, Heard::End);
}

#[tokio::test(start_paused = true)]
async fn deadline_needs_no_reply_timeout() {
    let options = ConnectOptions::new().reply_timeout(None);
    let (mut connection, _peer) = memory::connection_with(&options, 1 << 10);
    leave(&mut connection, "one", Left::Late, Execution::Unknown).await;
}

/// Texts both ways, after a greeting.
#[derive(Debug)]
enum Greets {}

impl Contract for Greets {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
    const HAS_GREETING: bool = true;
}

#[tokio::test(start_paused = true)]
async fn call_that_is_left_while_it_waits_for_the_greeting_sends_nothing() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    begin::<Greets>(&mut connection, "one").await;
    let call = connection.deadline(SECOND).call::<Greets>("two");
    let error = told(&within(call).await.expect_err("no greeting"));
    assert_eq!(error, (ErrorKind::TimedOut, Execution::NotSent));

    // The time for the greeting is a part of the limit.
    let (began, call) = (Instant::now(), connection.deadline(2 * SECOND));
    let server = async {
        sleep(SECOND).await;
        peer.send(frame("welcome")).await;
        hears(&mut peer, "three").await;
    };
    let (third, ()) = tokio::join!(call.call::<Greets>("three"), server);
    let error = told(&third.expect_err("no reply"));
    assert_eq!(error, (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(began.elapsed(), 2 * SECOND);

    let server = async {
        hears(&mut peer, "four").await;
        peer.send([frame("3"), frame("4")].concat()).await;
    };
    let (fourth, ()) = tokio::join!(connection.call::<Greets>("four"), server);
    assert_eq!(fourth.expect("a reply"), "4");
}

#[tokio::test(start_paused = true)]
async fn message_is_received_after_a_wait_for_it_was_left() {
    let (mut connection, mut peer) = memory::connection(1 << 10);
    leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
    let wait = connection.deadline(SECOND).receive::<&str, Plain>();
    let error = told(&within(wait).await.expect_err("no message"));
    assert_eq!(error, (ErrorKind::TimedOut, Execution::NotSent));
    let wait = connection.receive::<&str, Plain>();
    timeout(SECOND, wait).await.expect_err("no message");

    within(peer.send([frame("1"), frame("a push")].concat())).await;
    let message = within(connection.receive::<&str, Plain>()).await;
    assert_eq!(message.expect("a message"), "a push");
    hears(&mut peer, "one").await;

    // A wait without a request leaves nothing that a later one has to wait for.
    let wait = connection.receive::<&str, Plain>();
    timeout(SECOND, wait).await.expect_err("no message");
    advance(60 * SECOND).await;
    let server = async {
        hears(&mut peer, "two").await;
        sleep(SECOND).await;
        peer.send(frame("2")).await;
    };
    let (second, ()) = tokio::join!(reply(&mut connection, "two"), server);
    assert_eq!(second, "2");
}

#[tokio::test(start_paused = true)]
async fn reply_that_came_before_its_request_was_sent_is_not_skipped_again() {
    for left in EACH {
        let (mut connection, peer) = memory::connection(64);
        let large = "x".repeat(1_000);
        let server = play(peer, [receives(4), sends(frame("early"))]);
        sleep(SECOND).await;
        match left {
            Left::Dropped => {
                let call = connection.call::<Prefixed>(&large);
                timeout(SECOND, call).await.expect_err("it is not sent");
            }
            Left::Late => leave(&mut connection, &large, left, Execution::Unknown).await,
        }
        let steps = [receives(1_000), expects(frame("two")), sends(frame("2"))];
        let _server = play(server.peer().await, steps);
        assert_eq!(reply(&mut connection, "two").await, "2");
    }
}

#[tokio::test(start_paused = true)]
async fn only_exchange_of_a_connection_closes_it_when_it_is_left() {
    let (mut connection, mut peer) = memory::connection::<Raw>(64);
    begin::<Text<Raw>>(&mut connection, "one").await;
    let error = within(connection.call::<Text<Raw>>("two")).await;
    let error = error.expect_err("it is closed");
    assert_eq!(told(&error), NOT_SENT);
    assert_eq!(
        error.to_string(),
        "the connection to unnamed peer is closed: its only exchange was not awaited to its end"
    );
    assert_eq!(within(peer.rest()).await, b"one");
}

#[tokio::test(start_paused = true)]
async fn connection_whose_replies_are_missing_becomes_no_channel() {
    let (mut connection, mut peer) = memory::connection(64);
    leave(&mut connection, "one", Left::Dropped, Execution::Unknown).await;
    let error = connection.into_channel().expect_err("a reply is missing");
    assert_eq!(told(&error), NOT_SENT);
    hears(&mut peer, "one").await;
    assert_eq!(within(peer.hear()).await, Heard::End);

    // A request of which nothing was sent is not missed.
    let (mut connection, mut peer) = memory::connection(frame("1").len());
    let server = async {
        hears(&mut peer, "1").await;
        peer.send(frame("one")).await;
    };
    let (first, ()) = tokio::join!(reply(&mut connection, "1"), server);
    assert_eq!(first, "one");
    let mut pipeline = connection.pipeline::<Prefixed>();
    send(&mut pipeline, &["2"]).await;
    connection.into_channel().expect("nothing is missing");
    assert_eq!(within(peer.hear()).await, Heard::End);
}

/// Numbers that look random (xorshift32).
struct Dice(u32);

impl Dice {
    /// Returns a number below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % limit
    }

    /// Returns an index or a length below `limit`.
    fn index(&mut self, limit: usize) -> usize {
        self.below(u32::MAX) as usize % limit
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.below(20).into())
    }
}

/// Replies to each request with its first ten bytes, sooner or later, and notes which have arrived.
async fn echo(mut peer: RawPeer, mut dice: Dice, arrived: Arc<Mutex<Vec<String>>>) {
    while let Heard::Message(request) = peer.hear().await {
        let number = String::from_utf8_lossy(&request[..10]).into_owned();
        let reply = match dice.below(4) {
            0 => control(0x04, &number),
            1 => frame(number.repeat(20)),
            _ => frame(&number),
        };
        arrived.lock().expect("no panic").push(number);
        sleep(dice.pause()).await;
        let (one, two) = reply.split_at(dice.index(reply.len()));
        if peer.try_send(one).await.is_ok() {
            sleep(dice.pause()).await;
            drop(peer.try_send(two).await);
        }
    }
}

/// Returns the number in a reply, of which there may be many.
fn number_in<'a>(reply: &'a Result<&'a str, Error>) -> Result<String, &'a Error> {
    match reply {
        Ok(reply) => Ok(reply[..10].to_owned()),
        Err(error) => match error.rejection() {
            Some(rejection) => Ok(rejection.text().to_owned()),
            None => Err(error),
        },
    }
}

/// Calls a server again and again, and leaves most of the calls.
async fn calls_at_random(seed: u32) {
    let mut dice = Dice(seed);
    let (mut connection, peer) = memory::connection(16 + dice.index(200));
    let arrived = Arc::default();
    let server = tokio::spawn(echo(peer, Dice(seed + 1), Arc::clone(&arrived)));
    let mut never = Vec::new();
    for number in 0..200_u32 {
        let number = format!("{number:010}");
        let request = number.repeat(1 + dice.index(30));
        let reply = match dice.below(4) {
            0 => {
                let wait = timeout(dice.pause(), connection.call::<Prefixed>(&request));
                match wait.await {
                    Ok(reply) => reply,
                    Err(_) => continue,
                }
            }
            1 => {
                let mut pipeline = connection.pipeline::<Prefixed>();
                for _ in 0..dice.below(4) {
                    pipeline.send(&request).await.expect("it is open");
                    let wait = timeout(dice.pause(), pipeline.receive());
                    if let Ok(reply) = wait.await {
                        let reply = reply.map(|reply| reply.expect("one is in flight"));
                        assert_eq!(number_in(&reply).expect("a reply"), number, "{seed}");
                    }
                }
                continue;
            }
            2 => connection.call::<Prefixed>(&request).await,
            _ => {
                let limit = dice.pause();
                connection.deadline(limit).call::<Prefixed>(&request).await
            }
        };
        match number_in(&reply) {
            Ok(reply) => assert_eq!(reply, number, "{seed}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut, "{seed}: {error:?}");
                if error.execution() == Execution::NotSent {
                    never.push(number);
                }
            }
        }
    }
    // What is left of a request is sent.
    let last = connection.call::<Prefixed>("0123456789").await;
    assert_eq!(number_in(&last).expect("a reply"), "0123456789", "{seed}");
    drop(connection);
    patiently(server).await.expect("no panic");
    let arrived = arrived.lock().expect("no panic");
    assert!(
        never.iter().all(|number| !arrived.contains(number)),
        "{seed}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_reply_is_that_of_its_request_whichever_calls_are_left() {
    for seed in 1..=100 {
        patiently(calls_at_random(seed)).await;
    }
}
