//! A channel connects when it is used, and again when its connection has ended.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    Channel, Connection, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::{Text, chain, events, hears, told},
    code, control, frame,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn lazily() -> (Channel, Attempts) {
    let (options, attempts) = lasting();
    (options.connect_lazily().expect("good options"), attempts)
}

/// Options whose calls wait for a connection longer than any test.
fn patient() -> ConnectOptions {
    ConnectOptions::new().reply_timeout(Duration::from_hours(12))
}

/// Makes a call that is answered.
async fn exchange(channel: &Channel, peer: &mut RawPeer, request: &str) {
    let call = call(channel, request);
    assert_eq!(patiently(peer.ask_back()).await, request);
    assert_eq!(call.reply().await, request);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_attempt_that_the_first_of_them_begins() {
    let (channel, mut attempts) = lazily();
    settle().await;
    assert_eq!(attempts.count(), 0);
    let calls: Vec<_> = (0..64).map(|n| call(&channel, &n.to_string())).collect();
    settle().await;
    let mut peer = attempts.accept().await;
    for n in 0..64 {
        assert_eq!(patiently(peer.ask_back()).await, n.to_string());
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.reply().await, n.to_string());
    }
    let state = channel.state();
    assert_eq!((attempts.count(), state.connects), (0, 1));
    assert_eq!((state.connected, state.retries), (1, 0));
}

#[tokio::test]
async fn connect_makes_the_first_connection_or_says_why_not() {
    let (options, mut attempts) = lasting::<LengthPrefixed>();
    let connecting = tokio::spawn(options.connect());
    attempts.attempt().await.refuse();
    let error = patiently(connecting).await.expect("no panic");
    let error = error.expect_err("it was refused");
    assert_eq!(told(&error), (ErrorKind::Connect, Execution::NotSent));
    let (options, mut attempts) = lasting();
    let connecting = tokio::spawn(options.connect());
    let mut peer = attempts.accept().await;
    let channel: Channel = patiently(connecting)
        .await
        .expect("no panic")
        .expect("it was accepted");
    exchange(&channel, &mut peer, "one").await;
    assert_eq!((attempts.count(), channel.state().connects), (0, 1));
}

#[tokio::test]
async fn connected_channel_knows_its_peer_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let addr = listener.as_ref().expect("a free port").local_addr();
    let addr = addr.expect("it listens");
    let channel: Channel = patiently(Channel::connect(addr)).await.expect("it listens");
    assert_eq!(channel.peer().addr(), Some(addr));
    assert_eq!(channel.state().connected, 1);
}

#[tokio::test(start_paused = true)]
async fn idle_connection_that_the_server_closes_is_made_again_by_the_next_call() {
    let (channel, mut attempts) = lazily();
    for number in 1..=3 {
        let first = call(&channel, "one");
        let mut peer = attempts.accept().await;
        assert_eq!(patiently(peer.ask_back()).await, "one");
        assert_eq!(first.reply().await, "one");
        drop(peer);
        settle().await;
        assert_eq!(attempts.count(), 0);
        let state = channel.state();
        assert_eq!((state.connected, state.connects), (0, number));
        assert_eq!((state.losses, state.retries), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn call_in_the_moment_of_a_close_goes_to_the_next_connection() {
    let (channel, mut attempts) = lazily();
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(first.reply().await, "one");
    // The channel does not know it yet.
    drop(peer);
    let second = call(&channel, "two");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "two");
    assert_eq!(second.reply().await, "two");
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_double_from_100_ms_to_10_s() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .connect_options(patient())
        .connect_lazily()
        .expect("good options");
    let call = call(&channel, "one");
    let mut whole = Duration::from_millis(100);
    attempts.attempt().await.refuse();
    let mut last = Instant::now();
    for _ in 0..12 {
        let attempt = attempts.attempt().await;
        let waited = attempt.began - last;
        let ms = Duration::from_millis(1);
        assert!(
            waited + ms >= whole / 4 && waited <= whole + ms,
            "{waited:?}"
        );
        whole = (2 * whole).min(10 * SECOND);
        last = Instant::now();
        attempt.refuse();
    }
    settle().await;
    assert_eq!(channel.state().failed_attempts, 13);
    // A connection alone does not begin anew, but an answer does.
    drop(attempts.accept().await);
    let last = Instant::now();
    let attempt = attempts.attempt().await;
    assert!(attempt.began - last >= 10 * SECOND / 4);
    let mut peer = attempt.accept();
    assert_eq!(patiently(peer.ask_back()).await, "one");
    assert_eq!(call.outcome().await.expect("a reply"), "one");
    drop(peer);
    let last = Instant::now();
    let _second = tcs_tests::channel::call(&channel, "two");
    let attempt = attempts.attempt().await;
    // The wait after a server that ends connections.
    assert!(attempt.began - last <= Duration::from_millis(101));
    let last = attempt.began;
    attempt.refuse();
    let waited = attempts.attempt().await.began - last;
    assert!(waited <= Duration::from_millis(101), "{waited:?}");
}

/// How many attempts are refused before a connection. The next wait is at least 800 ms.
const REFUSED: usize = 6;

/// Refuses some attempts, and then accepts one, for a channel with somebody who receives events. Ends the connection after
/// `server`. Returns how long the channel then waits before it connects again.
async fn wait_after(server: impl AsyncFnOnce(&mut RawPeer)) -> Duration {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let _events = channel.events::<Owned>();
    for _ in 0..REFUSED {
        attempts.attempt().await.refuse();
    }
    let mut peer = attempts.accept().await;
    settle().await;
    server(&mut peer).await;
    settle().await;
    drop(peer);
    let lost = Instant::now();
    attempts.attempt().await.began - lost
}

#[tokio::test(start_paused = true)]
async fn backoff_begins_anew_after_an_event_or_the_longest_wait_without_a_call() {
    let shortest = Duration::from_millis(101);
    let after_event = wait_after(async |peer| patiently(peer.send(events(&["event"]))).await);
    let waited = after_event.await;
    assert!(waited <= shortest, "{waited:?}");
    let waited = wait_after(async |_| sleep(11 * SECOND).await).await;
    assert!(waited <= shortest, "{waited:?}");
    for seconds in [0, 9] {
        let waited = wait_after(async |_| sleep(seconds * SECOND).await).await;
        assert!(waited > 7 * shortest, "{seconds} s: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_after_a_loss_delays_no_call_that_comes_later() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    for _ in 0..10 {
        let began = Instant::now();
        let call = call(&channel, "one");
        let attempt = attempts.attempt().await;
        assert_eq!(attempt.began, began);
        let mut peer = attempt.accept();
        assert_eq!(patiently(peer.ask_back()).await, "one");
        assert_eq!(call.reply().await, "one");
        drop(peer);
        sleep(SECOND).await;
    }
}

/// Calls for 10 s, with a server that does this with each connection. Returns the number of attempts.
async fn attempts_in_10_s<F: Framing>(answer: impl AsyncFn(RawPeer)) -> usize {
    let (options, mut attempts) = lasting::<F>();
    let channel = options.connect_lazily().expect("good options");
    let caller = tokio::spawn(async move {
        loop {
            drop(channel.call_with::<Text<F>, _>("one", str::to_owned).await);
            tokio::task::yield_now().await;
        }
    });
    let mut count = 0;
    let end = Instant::now() + 10 * SECOND;
    while let Ok(attempt) = tokio::time::timeout_at(end, attempts.attempt()).await {
        count += 1;
        answer(attempt.accept()).await;
    }
    caller.abort();
    count
}

#[tokio::test(start_paused = true)]
async fn server_that_ends_each_connection_at_once_is_not_asked_at_once_again() {
    // The waits are at least a quarter of 100, 200, … 6,400 and 10,000 ms, and at most the whole.
    let closes = attempts_in_10_s::<LengthPrefixed>(async |peer| drop(peer)).await;
    assert!((7..=10).contains(&closes), "{closes}");
    let rejects = attempts_in_10_s::<LengthPrefixed>(async |mut peer| {
        drop(peer.try_send(control(code::TOO_MANY_CONNECTIONS, "")).await);
    });
    let rejects = rejects.await;
    assert!((7..=10).contains(&rejects), "{rejects}");
    let takes = attempts_in_10_s::<LengthPrefixed>(async |mut peer| drop(peer.hear().await)).await;
    assert!((7..=10).contains(&takes), "{takes}");
}

/// A framing that panics when it reads.
#[derive(Default)]
struct Touchy;

impl Framing for Touchy {
    fn parse(&mut self, _input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        panic!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_framing_ends_a_connection_and_is_not_repeated_at_once() {
    let panics = attempts_in_10_s::<Touchy>(async |mut peer| {
        drop(peer.try_send("x").await);
        settle().await;
    });
    let panics = panics.await;
    assert!((7..=10).contains(&panics), "{panics}");
}

#[tokio::test(start_paused = true)]
async fn panic_of_the_framing_is_told_to_the_calls_in_flight_and_to_those_that_wait() {
    const REASON: &str = "its framing panicked";
    let (options, mut attempts) = lasting::<Touchy>();
    let channel = options.connect_lazily().expect("good options");
    let in_flight = tokio::spawn({
        let channel = channel.clone();
        async move {
            channel
                .call_with::<Text<Touchy>, _>("one", str::to_owned)
                .await
        }
    });
    let mut peer = attempts.accept().await;
    patiently(peer.receive(3)).await;
    peer.send("x").await;
    let error = patiently(in_flight).await.expect("no panic");
    let error = error.expect_err("it is lost");
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::Unknown));
    assert!(error.to_string().ends_with(REASON), "{error}");
    let channel = channel.deadline(Duration::from_millis(1));
    let waiting = channel.call_with::<Text<Touchy>, _>("two", str::to_owned);
    let error = patiently(waiting).await.expect_err("there is none");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    let chain = chain(&error);
    assert!(
        chain.last().is_some_and(|it| it.ends_with(REASON)),
        "{chain:?}"
    );
}

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
    assert_eq!(patiently(peer.hear()).await, Heard::End);
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

#[test]
fn invalid_settings_are_errors() {
    type Change = fn(ChannelOptions) -> ChannelOptions;
    let changes: [(Change, &str); 6] = [
        (|options| options.connections(0), "connections"),
        (|options| options.deadline(Duration::ZERO), "deadline"),
        (|options| options.backoff(Duration::ZERO, SECOND), "backoff"),
        (
            |options| options.idle_timeout(Duration::ZERO),
            "idle_timeout",
        ),
        (
            |options| options.ping_interval(Duration::ZERO),
            "ping_interval",
        ),
        (|options| options.max_age(Duration::ZERO), "max_age"),
    ];
    for (change, name) in changes {
        let error = change(ChannelOptions::new("127.0.0.1:1")).connect_lazily();
        let error = error.expect_err("zero");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn longest_durations_never_pass_and_do_not_panic() {
    const MAX: Duration = Duration::MAX;
    let settings: [fn(ChannelOptions) -> ChannelOptions; 8] = [
        |options| options.deadline(MAX),
        |options| options.backoff(MAX, MAX),
        |options| options.backoff(SECOND, MAX),
        |options| options.idle_timeout(MAX),
        |options| options.ping_interval(MAX),
        |options| options.max_age(MAX),
        |options| options.connect_options(ConnectOptions::new().connect_timeout(MAX)),
        |options| options.connect_options(ConnectOptions::new().reply_timeout(MAX)),
    ];
    for (number, set) in settings.into_iter().enumerate() {
        let (options, mut attempts) = lasting();
        let channel = set(options).connect_lazily().expect("good options");
        let first = call(&channel, "one");
        let mut peer = attempts.accept().await;
        assert_eq!(patiently(peer.ask_back()).await, "one", "setting {number}");
        assert_eq!(first.reply().await, "one");
        for limited in [channel.deadline(MAX), channel.idempotent().hedge(MAX)] {
            let second = call(&limited, "two");
            sleep(20 * SECOND).await;
            hears(&mut peer, "two").await;
            patiently(peer.send(control(code::BUSY, ""))).await;
            assert_eq!(patiently(peer.ask_back()).await, "two", "setting {number}");
            assert_eq!(second.outcome().await.expect("a reply"), "two");
        }
        // The connection is lost, and cannot be made again.
        drop(peer);
        settle().await;
        let late = call(&channel.deadline(SECOND), "three");
        attempts.attempt().await.refuse();
        settle().await;
        let error = late.outcome().await.expect_err("there is no server");
        assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    }
}

#[tokio::test]
async fn longest_durations_of_a_tcp_connection_do_not_panic() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let options = ConnectOptions::new()
        .connect_timeout(Duration::MAX)
        .reply_timeout(Duration::MAX)
        .keepalive_timeout(Duration::MAX);
    let connected = patiently(options.connect(addr)).await;
    let mut connection: Connection = connected.expect("it listens");
    let mut peer = RawPeer::of(listener.accept().await.expect("the client").0);
    let call = connection
        .deadline(Duration::MAX)
        .call::<Text<LengthPrefixed>>("one");
    let (reply, request) = tokio::join!(patiently(call), patiently(peer.ask_back()));
    assert_eq!((reply.expect("a reply"), request.as_str()), ("one", "one"));
}
