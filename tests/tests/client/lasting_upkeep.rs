//! A channel closes its connections when they are idle, replaces them when they are old, and pings them.

use std::time::Duration;

use tcs::{
    Channel, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{call, settle},
    client::{Text, events, hears, told},
    frame,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::time::{Instant, sleep, timeout};

use super::lasting::{SECOND, exchange, lazily, patient};

#[tokio::test(start_paused = true)]
async fn unused_connection_that_the_channel_closes_is_no_failed_attempt() {
    const SHORT: Duration = Duration::from_millis(80);
    let idle = |options: ChannelOptions| options.idle_timeout(SHORT);
    let old = |options: ChannelOptions| options.idle_timeout(None).max_age(SHORT);
    for set in [idle as fn(_) -> _, old] {
        let (options, mut attempts) = lasting();
        let channel = set(options).connect_lazily().expect("good options");
        for _ in 0..4 {
            let began = Instant::now();
            let call = call(&channel, "one");
            let attempt = attempts.attempt().await;
            assert_eq!(attempt.began, began);
            // Nobody needs the connection any more.
            call.drop().await;
            let mut peer = attempt.accept();
            assert_eq!(patiently(peer.hear()).await, Heard::End);
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connection_is_closed_after_4_minutes() {
    let (channel, mut attempts) = lazily();
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    first.reply().await;
    sleep(200 * SECOND).await;
    exchange(&channel, &mut peer, "two").await;
    let began = Instant::now();
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    let waited = began.elapsed();
    assert!(
        waited >= 240 * SECOND && waited <= 271 * SECOND,
        "{waited:?}"
    );
    settle().await;
    assert_eq!(channel.state().losses, 0);
    let third = call(&channel, "three");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "three");
    assert_eq!(third.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_call_in_flight_is_not_idle() {
    let (options, mut attempts) = lasting();
    let options = options.connect_options(patient()).idle_timeout(SECOND);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "one").await;
    sleep(10 * SECOND).await;
    patiently(peer.send(frame("1"))).await;
    assert_eq!(first.reply().await, "1");
    // The idle time begins with the reply.
    let replied = Instant::now();
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    let idle = replied.elapsed();
    assert!(idle > SECOND / 2 && idle < 2 * SECOND, "{idle:?}");
}

/// A channel whose connections are old after 100 s.
async fn aging() -> (Channel, Attempts, RawPeer) {
    let (options, mut attempts) = lasting();
    let options = options.connect_options(patient()).idle_timeout(None);
    let options = options.max_age(100 * SECOND);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "first");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "first");
    assert_eq!(first.reply().await, "first");
    (channel, attempts, peer)
}

#[tokio::test(start_paused = true)]
async fn old_connection_is_used_until_there_is_another() {
    let (channel, mut attempts, mut peer) = aging().await;
    sleep(89 * SECOND).await;
    assert_eq!(attempts.waiting(), 0);
    let attempt = attempts.attempt().await;
    exchange(&channel, &mut peer, "meanwhile").await;
    attempt.refuse();
    let attempt = attempts.attempt().await;
    exchange(&channel, &mut peer, "after a failure").await;
    let mut next = attempt.accept();
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    exchange(&channel, &mut next, "new").await;
    let state = channel.state();
    assert_eq!((state.connected, state.connects), (1, 2));
    assert_eq!(
        (state.failed_attempts, state.losses, state.retries),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_to_replace_a_connection_double_as_well() {
    let (options, mut attempts) = lasting();
    let checks = Duration::from_millis(10);
    let options = options.max_age(SECOND).ping_interval(8 * checks);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "first");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "first");
    assert_eq!(first.reply().await, "first");
    let mut whole = Duration::from_millis(100);
    attempts.attempt().await.refuse();
    let mut last = Instant::now();
    for _ in 0..10 {
        let attempt = attempts.attempt().await;
        let waited = attempt.began - last;
        assert!(
            waited >= whole / 4 && waited <= whole + 2 * checks,
            "{whole:?}: {waited:?}"
        );
        whole = (2 * whole).min(10 * SECOND);
        last = Instant::now();
        attempt.refuse();
    }
}

#[tokio::test(start_paused = true)]
async fn old_connection_is_replaced_once_its_calls_are_answered() {
    let (channel, mut attempts, mut peer) = aging().await;
    let old = ["one", "two"].map(|request| call(&channel, request));
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    let mut next = attempts.accept().await;
    settle().await;
    let new = call(&channel, "new");
    settle().await;
    assert!(!new.is_over());
    for (call, reply) in old.into_iter().zip(["1", "2"]) {
        patiently(peer.send(frame(reply))).await;
        assert_eq!(call.reply().await, reply);
    }
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(patiently(next.ask_back()).await, "new");
    assert_eq!(new.outcome().await.expect("a reply"), "new");
    let state = channel.state();
    assert_eq!((state.connects, state.losses, state.retries), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_replacement_is_not_told_that_too_many_are_in_flight() {
    let (channel, mut attempts, mut peer) = aging().await;
    let old = call(&channel, "old");
    hears(&mut peer, "old").await;
    let _next = attempts.accept().await;
    settle().await;
    let error = call(&channel.deadline(SECOND), "new").error().await;
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    assert_eq!(error.to_string(), "no connection within 1s (`deadline`)");
    drop(old);
}

#[tokio::test(start_paused = true)]
async fn old_connection_that_ends_gives_up_its_replacement() {
    let (channel, mut attempts, peer) = aging().await;
    let attempt = attempts.attempt().await;
    drop(peer);
    settle().await;
    let new = call(&channel, "new");
    assert!(attempt.is_dropped());
    let mut next = attempts.accept().await;
    assert_eq!(patiently(next.ask_back()).await, "new");
    assert_eq!(new.outcome().await.expect("a reply"), "new");
}

#[tokio::test(start_paused = true)]
async fn old_connection_without_calls_is_closed() {
    let (channel, mut attempts, mut peer) = aging().await;
    let mut next = attempts.accept().await;
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(patiently(next.hear()).await, Heard::End);
    assert_eq!((attempts.waiting(), channel.state().connected), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn ping_is_sent_while_no_request_is() {
    let (options, mut attempts) = lasting();
    let options = options.ping_interval(8 * SECOND).idle_timeout(None);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    first.reply().await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(patiently(peer.receive(5)).await, b"\x80\0\0\x01\x80");
        let waited = began.elapsed();
        assert!(
            waited >= 7 * SECOND && waited <= 9 * SECOND + SECOND,
            "{waited:?}"
        );
    }
    exchange(&channel, &mut peer, "two").await;
    sleep(7 * SECOND).await;
    exchange(&channel, &mut peer, "three").await;
    assert_eq!(patiently(peer.receive(5)).await, b"\x80\0\0\x01\x80");
}

#[tokio::test(start_paused = true)]
async fn ping_is_no_use_of_a_connection() {
    let (options, mut attempts) = lasting();
    let options = options.ping_interval(SECOND).idle_timeout(10 * SECOND);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    first.reply().await;
    let began = Instant::now();
    let pings = patiently(peer.rest()).await;
    assert!(began.elapsed() <= 12 * SECOND);
    assert!((35..=50).contains(&pings.len()), "{}", pings.len());
}

#[tokio::test(start_paused = true)]
async fn shortest_pings_leave_time_for_the_end_of_a_connection() {
    let pings = |options: ChannelOptions| options.ping_interval(Duration::from_millis(1));
    let idle = |options: ChannelOptions| options.idle_timeout(SECOND);
    let old = |options: ChannelOptions| options.idle_timeout(None).max_age(SECOND);
    for set in [idle as fn(_) -> _, old] {
        let (options, mut attempts) = lasting();
        let channel = set(pings(options)).connect_lazily().expect("good options");
        let first = call(&channel, "one");
        let mut peer = attempts.accept().await;
        assert_eq!(patiently(peer.ask_back()).await, "one");
        first.reply().await;
        // A channel that replaces its connection opens the next one first.
        let next = tokio::spawn(async move { attempts.accept().await });
        let pings = timeout(2 * SECOND, peer.rest()).await.expect("the end");
        assert!(pings.len() > 100 * 5, "{}", pings.len());
        next.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn lines_have_no_ping() {
    let (options, mut attempts) = lasting::<tcs::framing::Lines>();
    let options = options.ping_interval(SECOND).idle_timeout(10 * SECOND);
    let channel = options.connect_lazily().expect("good options");
    let first = tokio::spawn(async move {
        let reply = channel.call_with::<Text<_>, _>("one", str::to_owned);
        let reply = reply.await;
        sleep(60 * SECOND).await;
        drop(channel);
        reply
    });
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.receive(4)).await, b"one\n");
    patiently(peer.send("1\n")).await;
    assert_eq!(patiently(peer.rest()).await, b"");
    assert_eq!(
        patiently(first).await.expect("no panic").expect("a reply"),
        "1"
    );
}

#[tokio::test]
async fn server_skips_pings() {
    #[tcs::server_protocol]
    fn echo(text: &str) -> &str {
        text
    }
    let server = tcs::ConcurrentServer::new(Echo).port(0).bind().await;
    let server = server.expect("a free port");
    let mut peer = RawPeer::connect(server.local_addr()).await;
    tokio::spawn(server.listen());
    let ping = b"\x80\0\0\x01\x80";
    patiently(peer.send([&ping[..], &frame("one"), ping, ping, &frame("two")].concat())).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("one"));
    assert_eq!(patiently(peer.hear()).await, Heard::message("two"));
}

#[tokio::test(start_paused = true)]
async fn late_call_does_not_keep_an_old_connection_from_its_replacement() {
    let (options, mut attempts) = lasting();
    let limits = ConnectOptions::new().reply_timeout(SECOND);
    let options = options.connect_options(limits).max_age(10 * SECOND);
    let channel: Channel = options.connect_lazily().expect("good options");
    let dropped = call(&channel, "one");
    let mut first = attempts.accept().await;
    hears(&mut first, "one").await;
    dropped.drop().await;
    // The server is alive, and never replies.
    let pushing = tokio::spawn(async move {
        while first.try_send(events(&["x"])).await.is_ok() {
            sleep(SECOND / 4).await;
        }
    });
    let mut next = attempts.accept().await;
    let called = call(&channel, "two");
    assert_eq!(patiently(next.ask_back()).await, "two");
    assert_eq!(called.reply().await, "two");
    patiently(pushing).await.expect("no panic");
}
