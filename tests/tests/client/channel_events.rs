//! Pushed events on a `Channel`, and streamed replies, which it does not take.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer, Error, ErrorKind, Execution,
    client::{ChannelEvent, ChannelOptions, ConnectOptions, Events},
    format::Plain,
    framing::Lines,
    protocol::{Contract, Push, PushGroup, Pushes},
    server_protocol,
};
use tcs_tests::{
    RawPeer,
    channel::{Owned, call, settle},
    client::{chain, events, hears, items, told},
    code, control, frame,
    lasting::{Attempts, lasting},
    memory, patiently, start,
    threads::joined,
    within,
};
use tokio::{net::TcpListener, time::sleep};

const SECOND: Duration = Duration::from_secs(1);

async fn next(events: &mut Events<Owned>) -> Result<ChannelEvent<String>, Error> {
    Ok(match patiently(events.next()).await? {
        ChannelEvent::Event(event) => ChannelEvent::Event(event.to_owned()),
        ChannelEvent::Reconnected => ChannelEvent::Reconnected,
        ChannelEvent::Missed(number) => ChannelEvent::Missed(number),
        other => panic!("{other:?}"),
    })
}

/// Receives these events.
async fn expect_events(events: &mut Events<Owned>, texts: &[&str]) {
    for text in texts {
        let event = next(events).await.expect("an event");
        assert_eq!(event, ChannelEvent::Event((*text).to_owned()));
    }
}

/// Answers the next request.
async fn answer(peer: &mut RawPeer, request: &str, reply: &str) {
    hears(peer, request).await;
    peer.send(frame(reply)).await;
}

#[tokio::test]
async fn each_subscriber_receives_the_events_beside_the_calls() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let mut subscribers = [channel.events::<Owned>(), channel.events::<Owned>()];
    let calls = [call(&channel, "1"), call(&channel, "2")];
    hears(&mut peer, "1").await;
    hears(&mut peer, "2").await;
    peer.send(
        [
            events(&["a"]),
            frame("one"),
            events(&["b", ""]),
            frame("two"),
        ]
        .concat(),
    )
    .await;
    let [first, second] = calls;
    assert_eq!(
        (first.reply().await, second.reply().await),
        ("one".into(), "two".into())
    );
    peer.send(events(&["c"])).await;
    for subscriber in &mut subscribers {
        expect_events(subscriber, &["a", "b", "", "c"]).await;
    }
    drop(subscribers);
    // Nobody receives this one.
    peer.send([events(&["d"])].concat()).await;
    let call = call(&channel, "3");
    answer(&mut peer, "3", "three").await;
    assert_eq!(call.reply().await, "three");
}

#[tokio::test]
async fn subscriber_that_does_not_read_misses_events_and_harms_nobody() {
    // With 32 bytes for each, two fit.
    let options = ConnectOptions::new().max_queued_events(70);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let mut slow = channel.events::<Owned>();
    peer.send(events(&["1", "2", "3", "4"])).await;
    let call = call(&channel, "call");
    answer(&mut peer, "call", "reply").await;
    assert_eq!(call.reply().await, "reply");
    expect_events(&mut slow, &["1", "2"]).await;
    peer.send(events(&["5"])).await;
    let missed = next(&mut slow).await.expect("a note");
    assert_eq!(missed, ChannelEvent::Missed(2));
    expect_events(&mut slow, &["5"]).await;
}

#[tokio::test]
async fn events_end_with_the_only_connection_of_a_channel() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let mut early = channel.events::<Owned>();
    peer.send(events(&["last"])).await;
    drop(peer);
    expect_events(&mut early, &["last"]).await;
    let mut late = channel.events::<Owned>();
    for subscriber in [&mut early, &mut late] {
        let error = next(subscriber).await.expect_err("the end");
        assert_eq!(told(&error), (ErrorKind::Closed, Execution::NotSent));
    }
}

/// A waker that panics.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

/// Waits for an event, with a waker that panics.
fn wait_with_bomb(subscriber: &mut Events<Owned>) {
    let waker = Waker::from(Arc::new(Bomb));
    let waiting = pin!(subscriber.next()).poll(&mut Context::from_waker(&waker));
    assert!(waiting.is_pending());
}

#[tokio::test]
async fn waker_that_panics_keeps_no_other_subscriber_from_the_end() {
    let (channel, peer) = memory::channel(1 << 10);
    let mut first = channel.events::<Owned>();
    let mut second = channel.events::<Owned>();
    wait_with_bomb(&mut first);
    let waiting = tokio::spawn(async move { next(&mut second).await });
    settle().await;
    drop(peer);
    let error = within(waiting).await.expect("no panic");
    assert_eq!(error.expect_err("the end").kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn waker_that_panics_keeps_no_other_subscriber_from_the_next_connection() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let mut first = channel.events::<Owned>();
    let mut second = channel.events::<Owned>();
    drop(attempts.accept().await);
    let attempt = attempts.attempt().await;
    wait_with_bomb(&mut first);
    let waiting = tokio::spawn(async move { next(&mut second).await });
    settle().await;
    let mut peer = attempt.accept();
    let note = patiently(waiting).await.expect("no panic");
    assert_eq!(note.expect("a note"), ChannelEvent::Reconnected);
    // The task of the connection goes on.
    let call = call(&channel, "call");
    answer(&mut peer, "call", "reply").await;
    assert_eq!(call.reply().await, "reply");
}

#[tokio::test(start_paused = true)]
async fn subscription_is_renewed_over_each_new_connection() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let subscribing = tokio::spawn({
        let channel = channel.clone();
        async move { channel.subscribe::<Owned>("subscribe").await }
    });
    let mut peer = attempts.accept().await;
    answer(&mut peer, "subscribe", "welcome").await;
    let outcome = patiently(subscribing).await.expect("no panic");
    let (reply, mut subscriber) = outcome.expect("a reply");
    assert_eq!(reply, "welcome");
    peer.send(events(&["1"])).await;
    expect_events(&mut subscriber, &["1"]).await;
    for number in ["2", "3", "4"] {
        drop(peer);
        // No call asks for it.
        peer = attempts.accept().await;
        settle().await;
        let server = async {
            answer(&mut peer, "subscribe", "welcome").await;
            peer.send(events(&[number])).await;
        };
        let (event, ()) = tokio::join!(next(&mut subscriber), server);
        assert_eq!(event.expect("a note"), ChannelEvent::Reconnected);
        expect_events(&mut subscriber, &[number]).await;
    }
    let call = call(&channel, "call");
    answer(&mut peer, "call", "reply").await;
    assert_eq!(call.reply().await, "reply");
    // The tasks end with the last handle.
    drop(channel);
    drop(subscriber);
    assert_eq!(patiently(attempts.ended()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn renewal_that_fails_is_sent_again_over_the_same_connection() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .deadline(SECOND)
        .connect_lazily()
        .expect("good options");
    let subscribing = tokio::spawn(async move { channel.subscribe::<Owned>("subscribe").await });
    let mut peer = attempts.accept().await;
    answer(&mut peer, "subscribe", "welcome").await;
    let outcome = patiently(subscribing).await.expect("no panic");
    let (_, mut subscriber) = outcome.expect("a reply");
    drop(peer);
    peer = attempts.accept().await;
    let rejected = async {
        hears(&mut peer, "subscribe").await;
        peer.send(control(code::BAD_REQUEST, "not yet")).await;
    };
    let (error, ()) = tokio::join!(next(&mut subscriber), rejected);
    assert!(error.expect_err("it was rejected").rejection().is_some());
    // Events do not wait for the next renewal.
    peer.send(events(&["0"])).await;
    expect_events(&mut subscriber, &["0"]).await;
    // A late reply is dropped, and the next renewal has its own.
    let late = async {
        hears(&mut peer, "subscribe").await;
        sleep(2 * SECOND).await;
        peer.send(frame("late")).await;
    };
    let (error, ()) = tokio::join!(next(&mut subscriber), late);
    let error = error.expect_err("it was late");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let accepted = async {
        answer(&mut peer, "subscribe", "welcome").await;
        peer.send(events(&["1"])).await;
    };
    let (note, ()) = tokio::join!(next(&mut subscriber), accepted);
    assert_eq!(note.expect("a note"), ChannelEvent::Reconnected);
    expect_events(&mut subscriber, &["1"]).await;
    assert_eq!(attempts.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn renewal_that_is_lost_with_its_connection_is_sent_over_the_next_one_once() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let subscribing = tokio::spawn(async move { channel.subscribe::<Owned>("subscribe").await });
    // The first one closes before it answers.
    let mut peer = attempts.accept().await;
    hears(&mut peer, "subscribe").await;
    drop(peer);
    let mut peer = attempts.accept().await;
    answer(&mut peer, "subscribe", "welcome").await;
    let outcome = patiently(subscribing).await.expect("no panic");
    let (_, mut subscriber) = outcome.expect("a reply");
    peer.send(events(&["1"])).await;
    let note = next(&mut subscriber).await.expect("a note");
    assert_eq!(note, ChannelEvent::Reconnected);
    expect_events(&mut subscriber, &["1"]).await;

    drop(peer);
    let waiting = tokio::spawn(async move {
        let note = next(&mut subscriber).await.expect("a note");
        (subscriber, note)
    });
    for _ in 0..2 {
        let mut peer = attempts.accept().await;
        hears(&mut peer, "subscribe").await;
        peer.send(control(code::GOING_AWAY, "")).await;
    }
    let mut peer = attempts.accept().await;
    answer(&mut peer, "subscribe", "welcome").await;
    let (mut subscriber, note) = patiently(waiting).await.expect("no panic");
    assert_eq!(note, ChannelEvent::Reconnected);
    // The next message is no second renewal, and it is told once.
    peer.send(events(&["2"])).await;
    expect_events(&mut subscriber, &["2"]).await;
    drop(subscriber);
    assert_eq!(patiently(peer.rest()).await, b"");
}

/// A channel with a subscription, and the server's end of its connection.
async fn subscribed(
    options: ChannelOptions,
    attempts: &mut Attempts,
) -> (Channel, Events<Owned>, RawPeer) {
    let channel = options.connect_lazily().expect("good options");
    let server = async {
        let mut peer = attempts.accept().await;
        answer(&mut peer, "subscribe", "welcome").await;
        peer
    };
    let (outcome, peer) = tokio::join!(channel.subscribe::<Owned>("subscribe"), server);
    let (_, events) = outcome.expect("a reply");
    (channel, events, peer)
}

#[tokio::test(start_paused = true)]
async fn wait_for_events_that_is_dropped_holds_up_no_call() {
    let (options, mut attempts) = lasting();
    let options = options.connect_options(ConnectOptions::new().max_in_flight(1));
    let (channel, mut subscriber, peer) = subscribed(options, &mut attempts).await;
    drop(peer);
    let mut peer = attempts.accept().await;
    let first = call(&channel, "1");
    hears(&mut peer, "1").await;
    tokio::select! {
        biased;
        next = next(&mut subscriber) => panic!("{next:?}"),
        // The renewal waits for room.
        () = settle() => {}
    }
    let second = call(&channel, "2");
    settle().await;
    peer.send(frame("one")).await;
    assert_eq!(first.reply().await, "one");
    answer(&mut peer, "subscribe", "welcome").await;
    answer(&mut peer, "2", "two").await;
    assert_eq!(second.reply().await, "two");
    let note = next(&mut subscriber).await;
    assert_eq!(note.expect("a note"), ChannelEvent::Reconnected);
}

#[tokio::test(start_paused = true)]
async fn renewal_that_had_no_runtime_is_sent_by_the_next_wait_in_one() {
    let (options, mut attempts) = lasting();
    let (_channel, mut subscriber, peer) = subscribed(options, &mut attempts).await;
    drop(peer);
    let mut peer = attempts.accept().await;
    settle().await;
    let outside = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(Err(error)) = pin!(subscriber.next()).poll(&mut cx) else {
                panic!("it needs a runtime");
            };
            assert_eq!(error.kind(), ErrorKind::Runtime);
        }
        subscriber
    });
    let mut subscriber = joined(outside);
    let server = answer(&mut peer, "subscribe", "welcome");
    let (note, ()) = tokio::join!(next(&mut subscriber), server);
    assert_eq!(note.expect("a note"), ChannelEvent::Reconnected);
}

#[tokio::test(start_paused = true)]
async fn renewal_waits_for_a_connection_no_longer_than_the_reply_timeout() {
    let (options, mut attempts) = lasting();
    let options = options.connect_options(ConnectOptions::new().reply_timeout(SECOND));
    let (_channel, mut subscriber, peer) = subscribed(options, &mut attempts).await;
    drop(peer);
    let server = async {
        let mut peer = attempts.accept().await;
        hears(&mut peer, "subscribe").await;
        drop(peer);
        sleep(5 * SECOND).await;
    };
    let (renewed, ()) = tokio::join!(next(&mut subscriber), server);
    let error = renewed.expect_err("there was no connection");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let server = async {
        let mut peer = attempts.accept().await;
        answer(&mut peer, "subscribe", "welcome").await;
    };
    let (renewed, ()) = tokio::join!(next(&mut subscriber), server);
    assert_eq!(renewed.expect("a note"), ChannelEvent::Reconnected);
}

#[tokio::test(start_paused = true)]
async fn gap_on_each_connection_is_told() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .connections(2)
        .connect_lazily()
        .expect("good options");
    let mut subscriber = channel.events::<Owned>();
    let peers = [attempts.accept().await, attempts.accept().await];
    settle().await;
    drop(peers);
    let (first, second) = (attempts.attempt().await, attempts.attempt().await);
    let mut peers = Vec::new();
    for (attempt, event) in [(first, "1"), (second, "2")] {
        let mut peer = attempt.accept();
        settle().await;
        peer.send(events(&[event])).await;
        let note = next(&mut subscriber).await;
        assert_eq!(note.expect("a note"), ChannelEvent::Reconnected);
        expect_events(&mut subscriber, &[event]).await;
        peers.push(peer);
    }
}

#[tokio::test]
async fn event_that_cannot_be_read_names_its_own_server() {
    let listen = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listeners = [listen().await, listen().await];
    let [first, second] = listeners
        .each_ref()
        .map(|it| it.local_addr().expect("it listens"));
    let options: ChannelOptions = ChannelOptions::new(first).address(second);
    let channel = options.connect_lazily().expect("good options");
    let mut subscriber = channel.events::<Owned>();
    let mut peers = Vec::new();
    for listener in &listeners {
        let (stream, _) = within(listener.accept()).await.expect("it listens");
        peers.push(RawPeer::of(stream));
    }
    for (peer, addr) in peers.iter_mut().zip([first, second]) {
        peer.send(b"\x80\0\0\x05\x82\0\0\0\x01\0\0\0\x01\xff").await;
        let error = within(subscriber.next()).await.expect_err("no text");
        assert_eq!(error.kind(), ErrorKind::Reply);
        assert_eq!(error.peer_addr(), Some(addr));
    }
}

#[tokio::test(start_paused = true)]
async fn subscription_makes_no_connection_but_its_own() {
    let (options, mut attempts) = lasting();
    let (channel, _first, mut peer) = subscribed(options.connections(2), &mut attempts).await;
    let server = answer(&mut peer, "subscribe", "welcome");
    let (outcome, ()) = tokio::join!(channel.subscribe::<Owned>("subscribe"), server);
    let _second = outcome.expect("a reply");
    settle().await;
    assert_eq!(attempts.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn rejected_subscription_is_an_error() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let server = async {
        hears(&mut peer, "subscribe").await;
        peer.send(control(code::ERROR, "no")).await;
    };
    let (outcome, ()) = tokio::join!(patiently(channel.subscribe::<Owned>("subscribe")), server);
    let error = outcome.expect_err("it was rejected");
    assert_eq!(error.rejection().expect("a rejection").text(), "no");
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_subscriber_is_not_idle() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .idle_timeout(10 * SECOND)
        .connect_lazily()
        .expect("good options");
    let mut subscriber = channel.events::<Owned>();
    let mut peer = attempts.accept().await;
    sleep(60 * SECOND).await;
    peer.send(events(&["late"])).await;
    expect_events(&mut subscriber, &["late"]).await;
    drop(subscriber);
    sleep(60 * SECOND).await;
    assert_eq!(patiently(peer.rest()).await, b"");
    assert_eq!(attempts.count(), 0);
    drop(channel);
}

#[tokio::test]
async fn items_are_the_error_of_one_call_and_reach_no_other() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let calls = ["1", "2", "3"].map(|request| call(&channel, request));
    for request in ["1", "2", "3"] {
        hears(&mut peer, request).await;
    }
    peer.send([frame("one"), items(&["a", "b"])].concat()).await;
    settle().await;
    peer.send([items(&["c"]), frame("two"), frame("three")].concat())
        .await;
    let [one, two, three] = calls;
    assert_eq!(one.reply().await, "one");
    let error = two.error().await;
    assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
    assert!(chain(&error)[1].contains("stream of items"), "{error:?}");
    assert_eq!(three.reply().await, "three");

    // A call that fails at its first item leaves its slot as good as new.
    let failed = call(&channel, "4");
    hears(&mut peer, "4").await;
    peer.send(items(&["d"])).await;
    assert_eq!(failed.error().await.kind(), ErrorKind::Reply);
    peer.send(frame("four")).await;
    for request in ["5", "6"] {
        let call = call(&channel, request);
        answer(&mut peer, request, request).await;
        assert_eq!(call.reply().await, request);
    }
}

/// Lines, of which those with a star are events.
#[derive(Debug)]
enum Starred {}

impl Contract for Starred {
    type Framing = Lines;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
    const IS_EVENT: Option<fn(&[u8]) -> bool> = Some(Self::is_push);
}

impl Pushes for Starred {
    type Format = Plain;
    type Event<'a> = &'a str;

    fn is_push(message: &[u8]) -> bool {
        message.starts_with(b"*")
    }
}

#[tokio::test]
async fn protocol_tells_events_from_replies_where_the_framing_cannot() {
    let (channel, mut peer) = memory::channel::<Lines>(1 << 10);
    let server = async {
        assert_eq!(peer.receive(5).await, b"call\n");
        peer.send("*0\nreply\n").await;
    };
    let (reply, ()) = tokio::join!(within(channel.call::<Starred>("call")), server);
    assert_eq!(reply.expect("a reply"), "reply");
    let mut subscriber = channel.events::<Starred>();
    peer.send("*1\n").await;
    let event = within(subscriber.next()).await.expect("an event");
    assert_eq!(event, ChannelEvent::Event("*1"));
}

#[tokio::test]
async fn owned_events_are_a_stream() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let mut subscriber = channel.events::<Owned>().owned::<String>();
    peer.send(events(&["1"])).await;
    let next = async |subscriber: &mut _| {
        let mut stream: Pin<&mut tcs::client::Owned<Events<Owned>, String>> = Pin::new(subscriber);
        within(poll_fn(|cx| {
            futures_core::Stream::poll_next(stream.as_mut(), cx)
        }))
        .await
    };
    let event = next(&mut subscriber).await.expect("an event");
    assert_eq!(
        event.expect("an event"),
        ChannelEvent::Event("1".to_owned())
    );
    drop(peer);
    let end = next(&mut subscriber).await.expect("the error");
    assert_eq!(end.expect_err("the end").kind(), ErrorKind::Closed);
    assert!(next(&mut subscriber).await.is_none());
}

/// Sends each message to all who have sent one.
#[server_protocol(push = &str)]
fn chat(message: &str, #[state] room: &PushGroup<Chat>, push: Push<Chat>) -> Result<usize, String> {
    room.join(&push);
    Ok(room.send(message)?)
}

#[tokio::test]
async fn events_of_a_server_reach_all_channels() {
    let server = start(ConcurrentServer::new(Chat::new(PushGroup::new()))).await;
    let mut members = Vec::new();
    for number in 0..3_usize {
        let channel: Channel = within(Channel::connect(server.addr()))
            .await
            .expect("it listens");
        let outcome = within(channel.subscribe::<Chat>(&number.to_string())).await;
        let (receivers, subscriber) = outcome.expect("a reply");
        assert_eq!(receivers, number + 1);
        members.push(subscriber);
    }
    for (number, subscriber) in members.iter_mut().enumerate() {
        for event in number..3 {
            let next = within(subscriber.next()).await.expect("an event");
            assert_eq!(next, ChannelEvent::Event(&*event.to_string()));
        }
    }
}
