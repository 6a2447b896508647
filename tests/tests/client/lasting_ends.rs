//! What ends a channel that lasts, its calls, and its waits: deadlines, drops, runtimes.

use std::{pin::pin, time::Duration};

use tcs::{
    Channel, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::{chain, hears, told},
    code, control, frame,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

fn lazily() -> (Channel, Attempts) {
    let (options, attempts) = lasting();
    (options.connect_lazily().expect("good options"), attempts)
}

/// A channel with a connection over which this number of bytes fits, and the server's end.
async fn connected(options: ConnectOptions, room: usize) -> (Channel, Attempts, RawPeer) {
    let (channel, mut attempts) = lasting();
    let connecting = tokio::spawn(channel.connect_options(options).connect());
    let peer = attempts.attempt().await.accept_with_room(room);
    let channel = patiently(connecting).await.expect("no panic");
    (channel.expect("it was accepted"), attempts, peer)
}

#[tokio::test(start_paused = true)]
async fn deadline_without_a_connection_says_why_there_is_none() {
    let (channel, mut attempts) = lazily();
    let began = Instant::now();
    let late = call(&channel.deadline(SECOND), "one");
    attempts.attempt().await.refuse();
    let error = late.error().await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    assert!(began.elapsed() <= SECOND + Duration::from_millis(2));
    assert_eq!(
        chain(&error),
        [
            "no connection within 1s (`deadline`)",
            "cannot open a stream to the server",
            "refused on purpose"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn reply_timeout_limits_the_wait_for_a_connection_also_with_a_longer_deadline() {
    let (channel, mut attempts) = lazily();
    let began = Instant::now();
    let calls = [
        call(&channel, "one"),
        call(&channel.deadline(600 * SECOND), "two"),
    ];
    let _silent = attempts.attempt().await;
    for late in calls {
        let error = late.outcome().await.expect_err("no connection");
        assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
        assert!(error.to_string().contains("`reply_timeout`"), "{error}");
    }
    assert!(began.elapsed() <= 31 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_request_that_waits_for_room_leaves_it_unsent() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, _attempts, mut peer) = connected(options, 1 << 10).await;
    let first = call(&channel, "one");
    hears(&mut peer, "one").await;
    let error = call(&channel.deadline(SECOND), "two").error().await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    patiently(peer.send(frame("1"))).await;
    assert_eq!(first.reply().await, "1");
    let third = call(&channel, "three");
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_request_that_was_sent_leaves_the_replies_in_order() {
    let (channel, _attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let late = call(&channel.deadline(SECOND), "one");
    hears(&mut peer, "one").await;
    let error = late.error().await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    let second = call(&channel, "two");
    hears(&mut peer, "two").await;
    patiently(peer.send([frame("1"), frame("2")].concat())).await;
    assert_eq!(second.reply().await, "2");
    assert_eq!(channel.state().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_channel_is_that_of_its_calls_which_can_change_it() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.deadline(3 * SECOND).connect_lazily().expect("good");
    let _silent = tokio::spawn(async move { drop(attempts.attempt().await) });
    for (channel, limit) in [
        (channel.clone(), 3 * SECOND),
        (channel.deadline(SECOND), SECOND),
        (channel.deadline(7 * SECOND), 7 * SECOND),
    ] {
        let began = Instant::now();
        assert_eq!(
            call(&channel, "one").error().await.kind(),
            ErrorKind::TimedOut
        );
        let waited = began.elapsed();
        assert!(
            waited >= limit && waited <= limit + Duration::from_millis(2),
            "{waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_includes_the_retries_and_leaves_the_error_of_the_last() {
    let (channel, _attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let server = tokio::spawn(async move {
        while let Heard::Message(_) = peer.hear().await {
            peer.send(control(code::BUSY, "")).await;
        }
    });
    for _ in 0..10 {
        let began = Instant::now();
        let error = call(&channel.deadline(5 * SECOND), "one").outcome().await;
        let error = error.expect_err("it is busy");
        assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
        let waited = began.elapsed();
        assert!(
            waited >= 3 * SECOND && waited <= 5 * SECOND + Duration::from_millis(2),
            "{waited:?}"
        );
    }
    drop(channel);
    patiently(server).await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn last_clone_closes_an_idle_connection() {
    let (channel, mut attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let clone = channel.clone();
    drop(channel);
    settle().await;
    let last = clone.clone();
    let call = call(&clone, "one");
    drop(clone);
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(call.reply().await, "one");
    settle().await;
    let began = Instant::now();
    drop(last);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    settle().await;
    assert_eq!((began.elapsed(), attempts.count()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn call_in_flight_is_answered_though_no_other_clone_is_left() {
    let (channel, mut attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let call = call(&channel, "one");
    drop(channel);
    hears(&mut peer, "one").await;
    settle().await;
    patiently(peer.send(frame("1"))).await;
    assert_eq!(call.reply().await, "1");
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(attempts.ended().await, 0);
}

#[tokio::test(start_paused = true)]
async fn last_clone_ends_an_attempt_and_the_waits_between_them() {
    let (channel, mut attempts) = lazily();
    let waiting = call(&channel, "one");
    let attempt = attempts.attempt().await;
    drop(channel);
    waiting.drop().await;
    settle().await;
    assert!(attempt.is_dropped());
    let (channel, mut attempts) = lazily();
    let waiting = call(&channel, "one");
    attempts.attempt().await.refuse();
    settle().await;
    drop(channel);
    waiting.drop().await;
    // The task had the function that connects, and with it the sender of attempts.
    let began = Instant::now();
    let none = tokio::time::timeout(60 * SECOND, attempts.ended()).await;
    assert_eq!((none.is_ok(), began.elapsed()), (true, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn last_clone_of_a_channel_that_waits_for_calls_ends_without_another_attempt() {
    let (channel, mut attempts, peer) = connected(ConnectOptions::new(), 1 << 10).await;
    settle().await;
    drop(peer);
    settle().await;
    sleep(SECOND).await;
    drop(channel);
    let ended = tokio::time::timeout(60 * SECOND, attempts.ended()).await;
    assert_eq!(ended, Ok(0));
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

#[test]
fn channel_is_made_outside_of_a_runtime_and_outlives_those_it_is_used_in() {
    let (channel, mut attempts) = lazily();
    for _ in 0..3 {
        let runtime = runtime();
        runtime.block_on(async {
            let one = call(&channel, "one");
            let mut peer = attempts.accept().await;
            assert_eq!(patiently(peer.ask_back()).await, "one");
            assert_eq!(one.reply().await, "one");
        });
    }
    // The first runtime ends while there is no connection, and while it waits to make one.
    for refused in [false, true] {
        let runtime = runtime();
        runtime.block_on(async {
            let waiting = call(&channel, "one");
            let attempt = attempts.attempt().await;
            if refused {
                attempt.refuse();
            }
            settle().await;
            waiting.drop().await;
        });
    }
    runtime().block_on(async {
        let one = call(&channel, "one");
        let mut peer = attempts.accept().await;
        assert_eq!(patiently(peer.ask_back()).await, "one");
        assert_eq!(one.reply().await, "one");
    });
}

#[test]
fn call_in_a_runtime_without_a_clock_is_an_error_and_a_later_one_in_another_works() {
    for limit in [None, Some(SECOND)] {
        let (options, mut attempts) = lasting();
        let options = options.connect_options(ConnectOptions::new().reply_timeout(limit));
        let channel: Channel = options.connect_lazily().expect("good options");
        let without_clock = Builder::new_current_thread().build().expect("a runtime");
        for _ in 0..2 {
            let error = without_clock.block_on(channel.call::<Owned>("one"));
            let error = error.expect_err("there is no clock");
            assert_eq!(told(&error), (ErrorKind::Runtime, Execution::NotSent));
            assert!(error.to_string().contains("enable_time"), "{error}");
        }
        assert_eq!(attempts.count(), 0);
        runtime().block_on(async {
            let one = call(&channel, "one");
            let mut peer = attempts.accept().await;
            assert_eq!(patiently(peer.ask_back()).await, "one");
            assert_eq!(one.reply().await, "one");
        });
    }
}

#[test]
fn refusal_does_not_outlive_its_runtime() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .on_connect(
            |mut connection: tcs::Connection<tcs::framing::LengthPrefixed>| async move {
                connection.call::<Owned>("log in").await?;
                Ok(connection)
            },
        )
        .connect_lazily()
        .expect("good options");
    runtime().block_on(async {
        let one = call(&channel, "one");
        let mut peer = attempts.accept().await;
        hears(&mut peer, "log in").await;
        peer.send(control(code::ERROR, "wrong password")).await;
        assert_eq!(one.error().await.kind(), ErrorKind::Rejected);
    });
    runtime().block_on(async {
        let one = call(&channel, "one");
        let mut peer = attempts.accept().await;
        hears(&mut peer, "log in").await;
        patiently(peer.send(frame("welcome"))).await;
        assert_eq!(patiently(peer.ask_back()).await, "one");
        assert_eq!(one.reply().await, "one");
    });
}

#[test]
fn call_outside_of_a_runtime_is_an_error() {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };
    let connect = ConnectOptions::new().reply_timeout(None);
    let options = ChannelOptions::new("127.0.0.1:1").connect_options(connect);
    let channels: [Channel; 2] = [
        options.connect_lazily().expect("good options"),
        ChannelOptions::new("127.0.0.1:1")
            .connect_lazily()
            .expect("good options"),
    ];
    for channel in channels {
        let mut call = pin!(channel.call::<Owned>("one"));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = polled else {
            panic!("it waits");
        };
        assert_eq!(told(&error), (ErrorKind::Runtime, Execution::NotSent));
    }
}

#[test]
fn call_in_a_runtime_that_has_ended_is_an_error() {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    drop(runtime);
    let connect = ConnectOptions::new().reply_timeout(None);
    let options = ChannelOptions::new("127.0.0.1:1").connect_options(connect);
    let channel: Channel = options.connect_lazily().expect("good options");
    let error = handle.block_on(channel.call::<Owned>("one"));
    let error = error.expect_err("nobody connects");
    assert_eq!(told(&error), (ErrorKind::Runtime, Execution::NotSent));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_dropped_call_that_was_not_sent_is_sent_later() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut attempts) = lasting();
    let channel: Channel = channel
        .connect_options(options)
        .connect_lazily()
        .expect("good");
    let cancelled = call(&channel, "cancelled while connecting");
    let kept = call(&channel, "one");
    let attempt = attempts.attempt().await;
    cancelled.drop().await;
    attempt.refuse();
    settle().await;
    let cancelled = call(&channel, "cancelled before the next attempt");
    settle().await;
    cancelled.drop().await;
    let mut peer = attempts.accept().await;
    hears(&mut peer, "one").await;
    let cancelled = call(&channel, "cancelled while there is no room");
    let second = call(&channel, "two");
    settle().await;
    cancelled.drop().await;
    patiently(peer.send(frame("1"))).await;
    assert_eq!(kept.reply().await, "1");
    hears(&mut peer, "two").await;
    patiently(peer.send(control(code::BUSY, ""))).await;
    settle().await;
    second.drop().await;
    // Sent, and dropped: its reply is dropped.
    let sent = call(&channel, "sent");
    hears(&mut peer, "sent").await;
    sent.drop().await;
    let third = call(&channel, "three");
    patiently(peer.send(frame("to the one that was dropped"))).await;
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
    // Sent, and dropped, and lost: it is not sent again.
    let lost = call(&channel.idempotent(), "lost");
    hears(&mut peer, "lost").await;
    lost.drop().await;
    drop(peer);
    let fourth = call(&channel, "four");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "four");
    assert_eq!(fourth.reply().await, "four");
    sleep(10 * SECOND).await;
    drop(channel);
    assert_eq!(patiently(peer.rest()).await, b"");
}

#[tokio::test(start_paused = true)]
async fn reply_of_another_operation_closes_only_its_connection() {
    let (channel, mut attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let wrong = tokio::spawn({
        let channel = channel.clone();
        async move { channel.call_for::<Owned, ()>("one", |_| None).await }
    });
    let behind = call(&channel, "two");
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    patiently(peer.send(frame("of another"))).await;
    let error = patiently(wrong).await.expect("no panic");
    assert_eq!(error.expect_err("no reply").kind(), ErrorKind::Reply);
    // Its reply would be that of "one".
    let lost = (ErrorKind::Broken, Execution::Unknown);
    assert_eq!(told(&behind.error().await), lost);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    let third = call(&channel, "three");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn caller_that_is_dropped_in_its_turn_lets_the_others_go_on() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, _attempts, mut peer) = connected(options, 1 << 10).await;
    let first = call(&channel, "one");
    hears(&mut peer, "one").await;
    let waiting = ["two", "three", "four"].map(|request| call(&channel, request));
    settle().await;
    // There is room in the moment in which the one that has waited longest is dropped.
    patiently(peer.send(frame("1"))).await;
    assert_eq!(first.reply().await, "1");
    let [second, third, fourth] = waiting;
    second.drop().await;
    let mut received = Vec::new();
    for call in [third, fourth] {
        let mut request = patiently(peer.ask_back()).await;
        if request == "two" {
            request = patiently(peer.ask_back()).await;
        }
        received.push(request);
        call.reply().await;
    }
    assert_eq!(received, ["three", "four"]);
}

#[tokio::test(start_paused = true)]
async fn reply_of_another_operation_does_not_end_the_next_connection() {
    let (channel, mut attempts, mut peer) = connected(ConnectOptions::new(), 1 << 10).await;
    let mut first = Box::pin(channel.call_for::<Owned, ()>("one", |_| None));
    tokio::select! {
        biased;
        _ = first.as_mut() => panic!("it is over"),
        () = settle() => {}
    }
    assert_eq!(patiently(peer.ask_back()).await, "one");
    drop(peer);
    settle().await;
    // Its reply has come, and its connection has ended.
    let second = call(&channel, "two");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "two");
    assert_eq!(second.reply().await, "two");
    let error = first.await.expect_err("another operation");
    assert_eq!(error.kind(), ErrorKind::Reply, "{error}");
    let third = call(&channel, "three");
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn request_is_not_sent_though_there_is_room_at_last_when_its_deadline_has_passed() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, _attempts, mut peer) = connected(options, 1 << 10).await;
    let first = call(&channel, "one");
    hears(&mut peer, "one").await;
    let limited = channel.deadline(SECOND);
    let mut late = pin!(limited.call::<Owned>("two"));
    let waited = tokio::time::timeout(Duration::ZERO, &mut late).await;
    assert!(waited.is_err());
    sleep(SECOND).await;
    peer.send(frame("1")).await;
    assert_eq!(first.reply().await, "1");
    let error = late.await.expect_err("it is late");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    let third = call(&channel, "three");
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn request_is_not_sent_again_when_its_deadline_has_passed() {
    let (channel, mut attempts, peer) = connected(ConnectOptions::new(), 64).await;
    let large = call(&channel, &"x".repeat(100));
    settle().await;
    let limited = channel.deadline(SECOND);
    let mut late = pin!(limited.call::<Owned>("two"));
    let waited = tokio::time::timeout(Duration::ZERO, &mut late).await;
    assert!(waited.is_err());
    sleep(SECOND).await;
    drop(peer);
    assert_eq!(large.error().await.execution(), Execution::Unknown);
    let third = call(&channel, "three");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "three").await;
    let error = late.await.expect_err("it was lost");
    assert_eq!(error.execution(), Execution::NotSent);
    peer.send(frame("3")).await;
    assert_eq!(third.reply().await, "3");
}
