//! A channel connects when it is used, and again when its connection has ended.

use std::time::Duration;

use tcs::{
    Channel, Connection, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame},
};
use tcs_tests::{
    RawPeer,
    channel::{Owned, call, settle},
    client::{Text, chain, events, hears, told},
    code, control,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::time::{Instant, sleep};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn lazily() -> (Channel, Attempts) {
    let (options, attempts) = lasting();
    (options.connect_lazily().expect("good options"), attempts)
}

/// Options whose calls wait for a connection longer than any test.
pub(crate) fn patient() -> ConnectOptions {
    ConnectOptions::new().reply_timeout(Duration::from_hours(12))
}

/// Makes a call that is answered.
pub(crate) async fn exchange(channel: &Channel, peer: &mut RawPeer, request: &str) {
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
    const REASON: &str = "its framing or its stream panicked";
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

#[test]
fn invalid_settings_are_errors() {
    type Change = fn(ChannelOptions) -> ChannelOptions;
    let changes: [(Change, &str); 7] = [
        (|options| options.connections(0), "connections"),
        (|options| options.connections(65_537), "connections"),
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
        let error = error.expect_err("it is invalid");
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
