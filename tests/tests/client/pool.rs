//! A channel with several connections: which of them a call takes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    Channel, Error, ErrorKind,
    client::{ChannelOptions, ConnectOptions},
    framing::LengthPrefixed,
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::hears,
    code, control, frame,
    lasting::{Attempts, lasting},
    patiently, within,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// A channel with two connections that are open, and the ends of the server.
pub(crate) async fn pair() -> (Channel, Attempts, [RawPeer; 2]) {
    let patient = ConnectOptions::new().reply_timeout(Duration::from_hours(1));
    pair_with(|options| options.connect_options(patient)).await
}

/// Such a channel with these options.
pub(crate) async fn pair_with(
    set: impl FnOnce(ChannelOptions) -> ChannelOptions,
) -> (Channel, Attempts, [RawPeer; 2]) {
    open_with(set).await
}

/// Such a channel with any number of connections.
async fn open_with<const N: usize>(
    set: impl FnOnce(ChannelOptions) -> ChannelOptions,
) -> (Channel, Attempts, [RawPeer; N]) {
    let (options, mut attempts) = lasting();
    let channel = set(options.connections(N)).connect_lazily();
    let channel = channel.expect("good options");
    let mut peers = Vec::new();
    while peers.len() < N {
        let one = call(&channel, "hello");
        settle().await;
        if attempts.waiting() > 0 {
            peers.push(attempts.accept().await);
        }
        settle().await;
        for peer in &mut peers {
            let answer = timeout(Duration::from_millis(1), peer.ask_back());
            drop(answer.await);
        }
        assert_eq!(one.reply().await, "hello");
    }
    let peers = peers.try_into().expect("not more");
    (channel, attempts, peers)
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    (listener, addr)
}

/// Answers all requests of all connections with the name. Reports each connection.
fn serve_as(
    name: &'static str,
    listener: TcpListener,
    connections: mpsc::UnboundedSender<&'static str>,
) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = connections.send(name);
            tokio::spawn(async move {
                let mut peer = RawPeer::of(stream);
                while let Heard::Message(_) = peer.hear().await {
                    peer.send(frame(name)).await;
                }
            });
        }
    });
}

#[tokio::test]
async fn calls_are_spread_over_all_connections_to_all_addresses() {
    let ((one, first), (two, second)) = (listen().await, listen().await);
    let (sender, mut connections) = mpsc::unbounded_channel();
    serve_as("one", one, sender.clone());
    serve_as("two", two, sender);
    let channel: Channel = ChannelOptions::new(first)
        .address(second)
        .connections(2)
        .connect()
        .await
        .expect("it listens");
    let mut replies = [0, 0];
    for _ in 0..200 {
        let reply = call(&channel, "who").reply().await;
        replies[usize::from(reply == "two")] += 1;
    }
    assert!(replies.iter().all(|count| *count > 50), "{replies:?}");
    let mut made = Vec::new();
    while let Ok(name) = connections.try_recv() {
        made.push(name);
    }
    made.sort_unstable();
    assert_eq!(made, ["one", "one", "two", "two"]);
    let state = channel.state();
    assert_eq!((state.connected, state.connects), (4, 4));
}

#[tokio::test]
async fn connect_tells_a_rejected_login_rather_than_a_server_that_is_down() {
    let ((first, dead), (up, addr)) = (listen().await, listen().await);
    drop(first);
    let (sender, _connections) = mpsc::unbounded_channel();
    serve_as("up", up, sender);
    for addrs in [[dead, addr], [addr, dead]] {
        let options: ChannelOptions = ChannelOptions::new(addrs[0]).address(addrs[1]);
        let options = options.on_connect(|_| async { Err(Error::other("wrong password")) });
        let error = options.connect().await.expect_err("no login");
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn less_loaded_connection_is_taken() {
    let (channel, _attempts, [mut one, mut two]) = pair().await;
    let calls = [(); 20].map(|()| call(&channel, "x"));
    settle().await;
    for peer in [&mut one, &mut two] {
        for _ in 0..10 {
            hears(peer, "x").await;
        }
    }
    // Ten are in flight on each: now one has room for ten more.
    patiently(one.send(frame("1").repeat(10))).await;
    settle().await;
    let more = [(); 10].map(|()| call(&channel, "y"));
    settle().await;
    for _ in 0..10 {
        hears(&mut one, "y").await;
    }
    drop((calls, more));
}

/// Receives the requests that have arrived. Returns how many there were.
async fn requests_at(peer: &mut RawPeer) -> usize {
    let mut count = 0;
    let soon = Duration::from_millis(1);
    while timeout(soon, hears(peer, "x")).await.is_ok() {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn less_loaded_of_two_connections_is_taken_and_not_the_least_loaded_of_all() {
    fastrand::seed(1);
    let patient = ConnectOptions::new().reply_timeout(Duration::from_hours(1));
    let opened = open_with::<8>(|options| options.connect_options(patient)).await;
    let (channel, _attempts, mut peers) = opened;
    let calls = [(); 160].map(|()| call(&channel, "x"));
    settle().await;
    for peer in &mut peers {
        let count = requests_at(peer).await;
        assert!((17..=23).contains(&count), "{count}");
    }
    // The first has room for 20 more, and is one of two in a quarter of all cases.
    patiently(peers[0].send(frame("1").repeat(20))).await;
    settle().await;
    let more = [(); 40].map(|()| call(&channel, "x"));
    settle().await;
    let count = requests_at(&mut peers[0]).await;
    assert!((5..=16).contains(&count), "{count}");
    drop((calls, more));
}

#[tokio::test]
async fn connections_that_cannot_be_made_are_not_used_while_one_is_up() {
    let ((first, dead), (second, too)) = (listen().await, listen().await);
    drop((first, second));
    let (up, addr) = listen().await;
    let (sender, _connections) = mpsc::unbounded_channel();
    serve_as("up", up, sender);
    let channel: Channel = ChannelOptions::new(dead)
        .address(too)
        .address(addr)
        .connect_lazily()
        .expect("good options");
    // None waits until its own connection is there.
    let calls = [(); 50].map(|()| call(&channel, "who"));
    for call in calls {
        assert_eq!(within(call.reply()).await, "up");
    }
    for _ in 0..50 {
        assert_eq!(within(call(&channel, "who").reply()).await, "up");
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_could_not_be_made_is_used_once_it_is_there() {
    let (channel, mut attempts, [mut one, two]) = pair().await;
    drop(two);
    settle().await;
    // Calls that take the one that is gone wait for an attempt, which fails.
    let calls = [(); 8].map(|()| call(&channel, "a"));
    attempts.attempt().await.refuse();
    for _ in 0..8 {
        assert_eq!(patiently(one.ask_back()).await, "a");
    }
    for call in calls {
        assert_eq!(call.reply().await, "a");
    }
    // Others do not wait, but the next attempt is made in the meantime.
    let mut others = 0;
    let attempt = loop {
        let other = call(&channel, "b");
        assert_eq!(patiently(one.ask_back()).await, "b");
        assert_eq!(other.reply().await, "b");
        others += 1;
        if attempts.waiting() > 0 {
            break attempts.attempt().await;
        }
        sleep(Duration::from_millis(10)).await;
        assert!(others < 100);
    };
    let mut two = attempt.accept();
    settle().await;
    assert_eq!(channel.state().connected, 2);
    let calls = [(); 10].map(|()| call(&channel, "c"));
    for _ in 0..5 {
        hears(&mut one, "c").await;
        hears(&mut two, "c").await;
    }
    drop(calls);
}

/// Answers each request: at once with *busy*, while that is so, and after 10 ms otherwise. Counts the requests.
fn sometimes_busy(mut peer: RawPeer, is_busy: &Arc<AtomicBool>) -> Arc<AtomicUsize> {
    let (is_busy, count) = (Arc::clone(is_busy), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Heard::Message(request) = peer.hear().await {
            counted.fetch_add(1, Relaxed);
            let answer = if is_busy.load(Relaxed) {
                control(code::BUSY, "")
            } else {
                sleep(Duration::from_millis(10)).await;
                frame(request)
            };
            drop(peer.try_send(answer).await);
        }
    });
    count
}

/// Makes 2,000 calls by eight callers. Returns how many of them have failed.
async fn eight_callers(channel: &Channel) -> usize {
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let channel = channel.clone();
        callers.spawn(async move {
            let mut failed = 0;
            for _ in 0..250 {
                failed += usize::from(channel.call::<Owned>("x").await.is_err());
            }
            failed
        });
    }
    patiently(callers.join_all()).await.into_iter().sum()
}

#[tokio::test(start_paused = true)]
async fn server_that_rejects_everything_gets_few_calls_until_it_recovers() {
    let (channel, _attempts, [one, two]) = pair().await;
    let is_busy = Arc::new(AtomicBool::new(true));
    let counts = [
        sometimes_busy(one, &is_busy),
        sometimes_busy(two, &Arc::default()),
    ];
    let take = || [0, 1].map(|index: usize| counts[index].swap(0, Relaxed));
    assert_eq!(eight_callers(&channel).await, 0);
    // It has fewer calls in flight than the other one.
    let [busy, well] = take();
    assert!(busy <= 60 && well == 2_000, "{busy} and {well}");

    is_busy.store(false, Relaxed);
    sleep(10 * SECOND).await;
    assert_eq!(eight_callers(&channel).await, 0);
    let [recovered, well] = take();
    assert!(recovered > 800 && well > 800, "{recovered} and {well}");
}

#[tokio::test(start_paused = true)]
async fn retry_takes_another_connection_than_the_one_that_has_rejected_the_call() {
    let (channel, _attempts, [mut one, mut two]) = pair().await;
    let calls = [(); 10].map(|()| call(&channel, "x"));
    for peer in [&mut one, &mut two] {
        for _ in 0..5 {
            hears(peer, "x").await;
        }
    }
    // The one that rejects has the fewest calls in flight.
    for _ in 0..4 {
        patiently(one.send(frame("1"))).await;
    }
    patiently(one.send(control(code::BUSY, ""))).await;
    hears(&mut two, "x").await;
    for _ in 0..6 {
        patiently(two.send(frame("1"))).await;
    }
    for call in calls {
        assert_eq!(call.outcome().await.expect("a reply"), "1");
    }
}

/// Makes 50 calls, one after the other, which this peer answers. Returns how long that took.
async fn answers_each_call(channel: &Channel, peer: &mut RawPeer) -> Duration {
    let began = Instant::now();
    for _ in 0..50 {
        let one = call(channel, "who");
        assert_eq!(patiently(peer.ask_back()).await, "who");
        assert_eq!(one.reply().await, "who");
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_connection_that_is_being_replaced() {
    let hour = Duration::from_hours(1);
    let patient = ConnectOptions::new().reply_timeout(None);
    let set = |options: ChannelOptions| {
        let options = options.connect_options(patient);
        options.max_age(hour).idle_timeout(None)
    };
    let (channel, mut attempts, [mut one, mut two]) = pair_with(set).await;
    // A call is in flight on each, and is not answered.
    let calls = [(); 2].map(|()| call(&channel, "x"));
    for peer in [&mut one, &mut two] {
        hears(peer, "x").await;
    }
    // One has a replacement, and waits for its reply. The other one goes on.
    sleep(hour * 8 / 9).await;
    drop(attempts.accept().await);
    settle().await;
    assert_eq!(channel.state().connected, 2);
    let more = [(); 10].map(|()| call(&channel, "y"));
    let is_first = tokio::select! {
        _ = one.hear() => true,
        _ = two.hear() => false,
    };
    let mut goes_on = if is_first { one } else { two };
    for _ in 1..10 {
        hears(&mut goes_on, "y").await;
    }
    drop((calls, more));
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_server_that_is_silent_while_one_connects() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connections(2).connect_lazily().expect("good");
    let first = call(&channel, "hello");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "hello");
    assert_eq!(first.reply().await, "hello");
    // The other attempt is never decided.
    let took = answers_each_call(&channel, &mut peer).await;
    assert_eq!(took, Duration::ZERO);
    let undecided = attempts.attempt().await;
    let took = answers_each_call(&channel, &mut peer).await;
    assert_eq!(took, Duration::ZERO);
    drop(undecided);
}

#[tokio::test(start_paused = true)]
async fn calls_do_not_wait_for_a_server_that_rejects_each_connection() {
    let (channel, mut attempts, [mut one, mut two]) = pair().await;
    let rejects = async {
        patiently(two.send(control(code::TOO_MANY_CONNECTIONS, ""))).await;
        drop(two);
        loop {
            let mut peer = attempts.accept().await;
            drop(peer.try_send(control(code::TOO_MANY_CONNECTIONS, "")).await);
        }
    };
    settle().await;
    tokio::select! {
        () = rejects => {}
        took = answers_each_call(&channel, &mut one) => {
            // A request that such a connection gets before the rejection is sent again within 10 ms.
            assert!(took <= Duration::from_millis(100), "{took:?}");
        }
    }
}

#[tokio::test]
async fn connect_takes_the_first_address_that_answers() {
    let ((dead, first), (alive, second)) = (listen().await, listen().await);
    drop(dead);
    let (sender, _connections) = mpsc::unbounded_channel();
    serve_as("two", alive, sender);
    let options = ChannelOptions::new(first).address(second);
    let channel: Channel = within(options.connect()).await.expect("one answers");
    assert_eq!(channel.state().connected, 1);
    assert_eq!(call(&channel, "who").reply().await, "two");
    let (dead, second) = listen().await;
    drop(dead);
    let options = ChannelOptions::<LengthPrefixed>::new(first).address(second);
    let error = within(options.connect()).await.expect_err("none answers");
    assert_eq!(error.peer_addr(), Some(first));
}

#[tokio::test(start_paused = true)]
async fn call_at_a_full_connection_moves_to_one_with_room() {
    let (options, mut attempts) = lasting();
    let full = ConnectOptions::new().max_in_flight(1);
    let options = options.connections(3).connect_options(full);
    let channel: Channel = options.connect_lazily().expect("good options");
    // So that all connect.
    let _events = channel.events::<Owned>();
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(attempts.accept().await);
    }
    settle().await;
    for _ in 0..20 {
        let calls = ["1", "2", "3"].map(|request| call(&channel, request));
        for peer in &mut peers {
            let Heard::Message(request) = patiently(peer.hear()).await else {
                panic!("no request")
            };
            patiently(peer.send(frame(request))).await;
        }
        for call in calls {
            call.reply().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_take_the_first_room_in_order() {
    let full = ConnectOptions::new().max_in_flight(1);
    let full = full.reply_timeout(Duration::from_hours(1));
    let (channel, _attempts, [mut stuck, mut other]) =
        pair_with(|options| options.connect_options(full)).await;
    let calls = ["0"; 2].map(|request| call(&channel, request));
    hears(&mut stuck, "0").await;
    hears(&mut other, "0").await;
    let mut waiting = Vec::new();
    for number in 1..=20 {
        waiting.push(call(&channel, &number.to_string()));
        // Most of them look for room before their turn, and keep it.
        sleep(Duration::from_millis(100)).await;
    }
    patiently(other.send(frame("0"))).await;
    for number in 1..=20 {
        assert_eq!(patiently(other.ask_back()).await, number.to_string());
    }
    for (call, number) in waiting.into_iter().zip(1..) {
        assert_eq!(call.reply().await, number.to_string());
    }
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_asks_for_all_connections_once_one_could_not_be_made() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connections(2).connect_lazily().expect("good");
    let waiting = call(&channel, "hello");
    let refused = attempts.attempt().await;
    settle().await;
    assert_eq!(attempts.waiting(), 0);
    refused.refuse();
    // One of the next two attempts is that of the other connection.
    let mut undecided = Vec::new();
    let mut peer = loop {
        let attempt = attempts.attempt().await;
        if undecided.is_empty() {
            undecided.push(attempt);
        } else {
            break attempt.accept();
        }
    };
    assert_eq!(patiently(peer.ask_back()).await, "hello");
    assert_eq!(waiting.reply().await, "hello");
    assert!(!undecided[0].is_dropped());
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_asks_for_another_connection_every_250_ms_while_none_answers() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connections(3).connect_lazily().expect("good");
    let began = Instant::now();
    let waiting = call(&channel, "hello");
    let mut undecided = Vec::new();
    for number in 0..2 {
        let attempt = attempts.attempt().await;
        assert_eq!(attempt.began - began, number * Duration::from_millis(250));
        settle().await;
        assert_eq!(attempts.waiting(), 0);
        undecided.push(attempt);
    }
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "hello");
    assert_eq!(waiting.reply().await, "hello");
    assert_eq!(began.elapsed(), Duration::from_millis(500));
}

#[tokio::test]
async fn connect_does_not_wait_for_a_silent_server_before_it_tries_the_next() {
    let (up, addr) = listen().await;
    let (sender, _connections) = mpsc::unbounded_channel();
    serve_as("up", up, sender);
    let patient = ConnectOptions::new().connect_timeout(Duration::from_hours(1));
    let options = ChannelOptions::over(std::future::pending::<std::io::Result<TcpStream>>);
    let options = options.address(addr).connect_options(patient);
    let channel: Channel = within(options.connect()).await.expect("one answers");
    assert_eq!(within(call(&channel, "who").reply()).await, "up");
}

#[tokio::test(start_paused = true)]
async fn subscription_that_waits_for_its_connection_holds_up_no_call() {
    let full = ConnectOptions::new().max_in_flight(1);
    let full = full.reply_timeout(Duration::from_hours(1));
    let (channel, _attempts, mut peers) = pair_with(|options| options.connect_options(full)).await;
    let calls = ["0"; 2].map(|request| call(&channel, request));
    for peer in &mut peers {
        hears(peer, "0").await;
    }
    let subscribed = tokio::spawn({
        let channel = channel.clone();
        async move { channel.subscribe::<Owned>("follow").await.map(drop) }
    });
    settle().await;
    let waiting = ["1"; 2].map(|request| call(&channel, request));
    settle().await;
    // Whichever is not that of the subscription has room.
    for peer in &mut peers {
        patiently(peer.send(frame("0"))).await;
        settle().await;
    }
    let mut requests = Vec::new();
    while requests.len() < 3 {
        for peer in &mut peers {
            let heard = timeout(Duration::from_millis(1), peer.ask_back()).await;
            requests.extend(heard);
        }
    }
    requests.sort_unstable();
    assert_eq!(requests, ["1", "1", "follow"]);
    within(subscribed)
        .await
        .expect("no panic")
        .expect("a reply");
    for call in calls.into_iter().chain(waiting) {
        call.reply().await;
    }
}
