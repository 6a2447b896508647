//! A channel prepares each new connection, for example with a login, and says to its calls when that fails.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{Channel, Connection, ErrorKind, Execution, framing::LengthPrefixed};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::{chain, hears, told},
    code, control, frame,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::time::{Instant, sleep, timeout};

use super::lasting::{SECOND, patient};

/// Logs in, and returns the connection.
async fn log_in(
    mut connection: Connection<LengthPrefixed>,
) -> tcs::Result<Connection<LengthPrefixed>> {
    connection.call::<Owned>("log in").await?;
    Ok(connection)
}

#[tokio::test(start_paused = true)]
async fn on_connect_comes_before_the_calls_on_each_connection() {
    let (options, mut attempts) = lasting();
    let channel = options.on_connect(log_in).connect_lazily();
    let channel = channel.expect("good options");
    for _ in 0..2 {
        let calls = ["one", "two"].map(|request| call(&channel, request));
        let mut peer = attempts.accept().await;
        hears(&mut peer, "log in").await;
        settle().await;
        patiently(peer.send(frame("welcome"))).await;
        for (call, request) in calls.into_iter().zip(["one", "two"]) {
            assert_eq!(patiently(peer.ask_back()).await, request);
            assert_eq!(call.reply().await, request);
        }
    }
    assert_eq!(channel.state().connects, 2);
}

#[tokio::test(start_paused = true)]
async fn rejection_in_on_connect_is_told_to_calls_until_the_next_attempt() {
    let (options, mut attempts) = lasting();
    let channel = options.on_connect(log_in).connect_lazily();
    let channel = channel.expect("good options");
    let waiting = ["one", "two", "three"].map(|request| call(&channel, request));
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(control(code::ERROR, "wrong password"))).await;
    for call in waiting {
        let error = call.error().await;
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(error.execution(), Execution::NotSent);
        let chain = chain(&error);
        assert_eq!(chain.last().expect("some"), "wrong password");
    }
    // During the wait before the next attempt, calls need not wait.
    let error = call(&channel, "four").error().await;
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(attempts.count(), 0);
    sleep(Duration::from_millis(101)).await;
    let five = call(&channel, "five");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(frame("welcome"))).await;
    assert_eq!(patiently(peer.ask_back()).await, "five");
    assert_eq!(five.reply().await, "five");
    let state = channel.state();
    assert_eq!((state.connects, state.failed_attempts), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn rejection_in_on_connect_is_told_to_calls_though_the_other_address_is_down() {
    let (options, mut attempts) = lasting();
    let channel = options.connections(2).on_connect(log_in).connect_lazily();
    let channel = channel.expect("good options");
    let waiting = call(&channel, "one");
    attempts.attempt().await.refuse();
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(control(code::ERROR, "wrong password"))).await;
    // The first one waits at the connection that was refused. The next attempts are not over.
    for call in iter::once(waiting).chain((0..10).map(|_| call(&channel, "two"))) {
        let error = call.error().await;
        assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotSent));
        assert_eq!(chain(&error).last().expect("some"), "wrong password");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_where_the_login_is_rejected_goes_to_a_connection_that_was_not_tried() {
    let (options, mut attempts) = lasting();
    let channel = options.connections(2).on_connect(log_in).connect_lazily();
    let channel = channel.expect("good options");
    let call = call(&channel, "one");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(control(code::ERROR, "wrong password"))).await;
    let mut other = attempts.accept().await;
    hears(&mut other, "log in").await;
    patiently(other.send(frame("welcome"))).await;
    assert_eq!(patiently(other.ask_back()).await, "one");
    assert_eq!(call.outcome().await.expect("a reply"), "one");
}

/// Receives the login of a new connection, and rejects it.
async fn reject_login(attempts: &mut Attempts) {
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(control(code::ERROR, "wrong password"))).await;
}

/// Accepts the login of a new connection, and answers one call. Returns the server's end.
async fn answer_after_login(attempts: &mut Attempts, request: &str) -> RawPeer {
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    patiently(peer.send(frame("welcome"))).await;
    assert_eq!(patiently(peer.ask_back()).await, request);
    peer
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_a_server_that_restarts_though_the_login_at_the_other_is_rejected() {
    let (options, mut attempts) = lasting();
    let hour = Duration::from_hours(1);
    let options = options.connections(2).backoff(hour, hour);
    let options = options.connect_options(patient()).on_connect(log_in);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "one");
    reject_login(&mut attempts).await;
    let peer = answer_after_login(&mut attempts, "one").await;
    assert_eq!(first.outcome().await.expect("a reply"), "one");
    drop(peer);
    settle().await;
    // The other one waits for an hour, so this attempt is that of the server that restarts.
    let second = call(&channel, "two");
    attempts.attempt().await.refuse();
    settle().await;
    let third = call(&channel, "three");
    settle().await;
    assert!(!second.is_over() && !third.is_over());
    let mut peer = answer_after_login(&mut attempts, "two").await;
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(second.outcome().await.expect("a reply"), "two");
    assert_eq!(third.outcome().await.expect("a reply"), "three");
}

#[tokio::test(start_paused = true)]
async fn attempt_that_has_failed_long_ago_does_not_fail_a_call() {
    // Which connection a call takes is random.
    for _ in 0..10 {
        let (options, mut attempts) = lasting();
        let options = options.connections(2).idle_timeout(None);
        let channel = options.on_connect(log_in).connect_lazily();
        let channel = channel.expect("good options");
        let first = call(&channel, "one");
        attempts.attempt().await.refuse();
        let peer = answer_after_login(&mut attempts, "one").await;
        assert_eq!(first.outcome().await.expect("a reply"), "one");
        sleep(60 * SECOND).await;
        attempts.count();
        sleep(60 * SECOND).await;
        drop(peer);
        settle().await;
        let second = call(&channel, "two");
        reject_login(&mut attempts).await;
        let _peer = answer_after_login(&mut attempts, "two").await;
        assert_eq!(second.outcome().await.expect("a reply"), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn login_is_tried_again_after_the_shortest_backoff_too() {
    let (options, mut attempts) = lasting();
    let nanosecond = Duration::from_nanos(1);
    let options = options.backoff(nanosecond, nanosecond).on_connect(log_in);
    let channel = options.connect_lazily().expect("good options");
    for _ in 0..50 {
        let waiting = call(&channel, "one");
        reject_login(&mut attempts).await;
        assert_eq!(waiting.error().await.kind(), ErrorKind::Rejected);
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_when_on_connect_fails_for_now() {
    let (options, mut attempts) = lasting();
    let channel = options.on_connect(log_in).connect_lazily();
    let channel = channel.expect("good options");
    let call = call(&channel, "one");
    for said in [
        Vec::new(),
        control(code::BUSY, ""),
        control(code::GOING_AWAY, ""),
        control(code::TOO_MANY_CONNECTIONS, ""),
    ] {
        let mut peer = attempts.accept().await;
        hears(&mut peer, "log in").await;
        patiently(peer.send(said)).await;
    }
    // The last one is silent for the connect timeout.
    let mut silent = attempts.accept().await;
    let began = Instant::now();
    hears(&mut silent, "log in").await;
    let mut peer = attempts.accept().await;
    let waited = began.elapsed();
    assert!(waited > 5 * SECOND && waited < 7 * SECOND, "{waited:?}");
    assert_eq!(patiently(silent.hear()).await, Heard::End);
    hears(&mut peer, "log in").await;
    patiently(peer.send(frame("welcome"))).await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(call.outcome().await.expect("a reply"), "one");
}

#[tokio::test(start_paused = true)]
async fn panic_in_on_connect_is_an_attempt_that_has_failed() {
    let (options, mut attempts) = lasting();
    let panics = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&panics);
    let channel: Channel = options
        .on_connect(move |connection| {
            let number = counted.fetch_add(1, Relaxed);
            async move {
                assert!(number >= 3, "on purpose");
                Ok(connection)
            }
        })
        .connect_lazily()
        .expect("good options");
    for number in 1..=3 {
        let waiting = call(&channel, "one");
        let _peer = attempts.accept().await;
        let error = waiting.error().await;
        assert_eq!(error.execution(), Execution::NotSent);
        let chain = chain(&error).join(": ");
        assert!(
            chain.contains("panicked") && chain.contains("on purpose"),
            "{chain}"
        );
        settle().await;
        assert_eq!(attempts.count(), 0);
        assert_eq!(panics.load(Relaxed), number);
        sleep(11 * SECOND).await;
    }
    let waiting = call(&channel, "one");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(waiting.reply().await, "one");
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_reply_to_come_is_not_used() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .on_connect(|mut connection: Connection<LengthPrefixed>| async move {
            let call = connection.call::<Owned>("log in");
            // Its reply would be taken for that of a call.
            drop(timeout(SECOND, call).await);
            Ok(connection)
        })
        .connect_lazily()
        .expect("good options");
    let waiting = call(&channel, "one");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "log in").await;
    let mut next = attempts.accept().await;
    hears(&mut next, "log in").await;
    patiently(next.send(frame("welcome"))).await;
    assert_eq!(patiently(next.ask_back()).await, "one");
    assert_eq!(waiting.reply().await, "one");
}
