//! A channel over `Multiplexed`: replies come in any order, and calls that are over are cancelled.

use std::{collections::BTreeMap, time::Duration};

use tcs::{
    Channel, Error, ErrorKind,
    client::ConnectOptions,
    format::Plain,
    framing::Multiplexed,
    protocol::{Contract, Pushes, Streams},
};
use tcs_tests::{
    RawPeer,
    channel::settle,
    client::chain,
    ids::{
        announced_of, control_of,
        kind::{CANCEL, CANCELLED, DEADLINE, EVENTS, ITEMS, PARTS},
        message_of, receive_frame,
    },
    lasting::lasting,
    memory, patiently, within,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Texts both ways.
#[derive(Debug)]
pub(crate) enum Owned {}

impl Contract for Owned {
    type Framing = Multiplexed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

impl Pushes for Owned {
    type Format = Plain;
    type Event<'a> = &'a str;
}

impl Streams for Owned {
    type Format = Plain;
    type Item<'a> = &'a str;
}

/// A frame that a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Request(u32, String),
    Notice(u32, u8, Vec<u8>),
}

pub(crate) fn request(id: u32, text: &str) -> Sent {
    Sent::Request(id, text.to_owned())
}

pub(crate) fn cancel(id: u32) -> Sent {
    Sent::Notice(id, CANCEL, Vec::new())
}

/// Receives a frame.
pub(crate) async fn hear(peer: &mut RawPeer) -> Sent {
    match patiently(receive_frame(peer)).await {
        (id, None, text) => Sent::Request(id, String::from_utf8(text).expect("text")),
        (id, Some(kind), text) => Sent::Notice(id, kind, text),
    }
}

/// A channel in memory, and its server's end.
pub(crate) fn channel_with(options: &ConnectOptions) -> (Channel<Multiplexed>, RawPeer) {
    memory::channel_with(options, 1 << 16)
}

pub(crate) fn channel() -> (Channel<Multiplexed>, RawPeer) {
    channel_with(&ConnectOptions::new())
}

/// A call in a task.
pub(crate) struct Call(pub(crate) JoinHandle<Result<String, Error>>);

pub(crate) fn call(channel: &Channel<Multiplexed>, request: &str) -> Call {
    let (channel, request) = (channel.clone(), request.to_owned());
    Call(tokio::spawn(async move {
        channel.call::<Owned>(&request).await
    }))
}

impl Call {
    pub(crate) async fn reply(self) -> String {
        within(self.0).await.expect("no panic").expect("a reply")
    }

    pub(crate) async fn error(self) -> Error {
        patiently(self.0)
            .await
            .expect("no panic")
            .expect_err("no reply")
    }

    pub(crate) async fn drop(self) {
        self.0.abort();
        within(self.0).await.expect_err("it was cut");
    }
}

/// Makes calls, whose requests the server has then.
pub(crate) async fn calls<const N: usize>(
    channel: &Channel<Multiplexed>,
    peer: &mut RawPeer,
) -> [Call; N] {
    let calls = std::array::from_fn(|number| call(channel, &(number + 1).to_string()));
    for number in 1..=N {
        let id = u32::try_from(number).expect("a few");
        assert_eq!(hear(peer).await, request(id, &number.to_string()));
    }
    calls
}

#[tokio::test]
async fn replies_reach_their_callers_in_any_order() {
    let (channel, mut peer) = channel();
    let [one, two, three] = calls(&channel, &mut peer).await;
    peer.send(message_of(3, "three")).await;
    assert_eq!(three.reply().await, "three");
    peer.send(control_of(2, 0x01, b"no")).await;
    let error = two.error().await;
    assert_eq!(error.rejection().expect("a rejection").text(), "no");
    peer.send(message_of(1, "one")).await;
    assert_eq!(one.reply().await, "one");
}

#[tokio::test]
async fn dropped_call_is_cancelled_once_and_its_id_is_free_after_the_last_word() {
    let (channel, mut peer) = channel();
    let [one, two] = calls(&channel, &mut peer).await;
    one.drop().await;
    assert_eq!(hear(&mut peer).await, cancel(1));
    let three = call(&channel, "3");
    assert_eq!(hear(&mut peer).await, request(3, "3"));
    peer.send(control_of(1, CANCELLED, b"")).await;
    peer.send(message_of(3, "three")).await;
    assert_eq!(three.reply().await, "three");
    for id in [3, 1] {
        // The slot that was freed last is used first.
        drop(call(&channel, "4"));
        assert_eq!(hear(&mut peer).await, request(id, "4"));
    }
    peer.send(message_of(2, "two")).await;
    assert_eq!(two.reply().await, "two");
}

#[tokio::test(start_paused = true)]
async fn deadline_goes_before_its_request_and_a_cancel_after_it() {
    let (channel, mut peer) = channel();
    let other = call(&channel, "0");
    assert_eq!(hear(&mut peer).await, request(1, "0"));
    // A millisecond more, so that the client gives up first.
    let late = call(&channel.deadline(Duration::from_millis(0x0102)), "1");
    let notice = Sent::Notice(2, DEADLINE, vec![0, 0, 1, 3]);
    assert_eq!(hear(&mut peer).await, notice);
    assert_eq!(hear(&mut peer).await, request(2, "1"));
    assert_eq!(late.error().await.kind(), ErrorKind::TimedOut);
    assert_eq!(hear(&mut peer).await, cancel(2));
    peer.send([message_of(2, "late"), message_of(1, "zero")].concat())
        .await;
    assert_eq!(other.reply().await, "zero");
}

#[tokio::test(start_paused = true)]
async fn late_call_is_cancelled_once() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_millis(800));
    let (channel, mut peer) = channel_with(&options);
    let [late] = calls(&channel, &mut peer).await;
    // Something arrives, so the connection is not given up.
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        peer.send(announced_of(0, EVENTS, "beat")).await;
    }
    assert_eq!(late.error().await.kind(), ErrorKind::TimedOut);
    assert_eq!(hear(&mut peer).await, cancel(1));
    let next = call(&channel, "2");
    assert_eq!(hear(&mut peer).await, request(2, "2"));
    peer.send([control_of(1, CANCELLED, b""), message_of(2, "two")].concat())
        .await;
    assert_eq!(next.reply().await, "two");
}

#[tokio::test]
async fn parts_of_replies_are_put_together_between_other_replies() {
    let (channel, mut peer) = channel();
    let [one, two, three] = calls(&channel, &mut peer).await;
    let frames = [
        announced_of(1, PARTS, "he"),
        announced_of(2, PARTS, "wor"),
        message_of(3, "!"),
        announced_of(1, PARTS, "l"),
        message_of(2, "ld"),
        message_of(1, "lo"),
    ];
    peer.send(frames.concat()).await;
    assert_eq!(one.reply().await, "hello");
    assert_eq!(two.reply().await, "world");
    assert_eq!(three.reply().await, "!");
    let again = call(&channel, "4");
    let Sent::Request(id, _) = hear(&mut peer).await else {
        panic!("no request")
    };
    peer.send(message_of(id, "four")).await;
    assert_eq!(again.reply().await, "four");
}

#[tokio::test]
async fn streamed_reply_to_an_ordinary_call_is_an_error_at_once_and_cancelled() {
    let (channel, mut peer) = channel();
    let [one, two] = calls(&channel, &mut peer).await;
    peer.send(announced_of(1, ITEMS, "a")).await;
    let error = one.error().await;
    assert_eq!(error.kind(), ErrorKind::Reply);
    assert!(chain(&error).concat().contains("`stream`"), "{error:?}");
    assert_eq!(hear(&mut peer).await, cancel(1));
    // What was on its way is dropped, and the id is not free before the last word.
    peer.send(announced_of(1, ITEMS, "b")).await;
    let three = call(&channel, "3");
    assert_eq!(hear(&mut peer).await, request(3, "3"));
    let frames = [
        control_of(1, CANCELLED, ""),
        message_of(2, "two"),
        message_of(3, "three"),
    ];
    peer.send(frames.concat()).await;
    assert_eq!(two.reply().await, "two");
    assert_eq!(three.reply().await, "three");
}

#[tokio::test]
async fn parts_beyond_the_limit_are_an_error_at_once_and_cancelled() {
    let (channel, mut peer) = channel_with(&ConnectOptions::new().max_reply_len(10));
    let [one, two] = calls(&channel, &mut peer).await;
    for text in ["12345", "678901"] {
        peer.send(announced_of(1, PARTS, text)).await;
    }
    assert_eq!(one.error().await.kind(), ErrorKind::Reply);
    assert_eq!(hear(&mut peer).await, cancel(1));
    let frames = [
        announced_of(1, PARTS, "more"),
        control_of(1, CANCELLED, ""),
        message_of(2, "two"),
    ];
    peer.send(frames.concat()).await;
    assert_eq!(two.reply().await, "two");
}

#[tokio::test]
async fn parts_beyond_the_limit_fail_their_call_only() {
    let options = ConnectOptions::new().max_reply_len(10);
    for rest in ["456", "4"] {
        let (channel, mut peer) = channel_with(&options);
        let [one, two] = calls(&channel, &mut peer).await;
        let part = |text| announced_of(1, PARTS, text);
        peer.send(
            [
                part("12345"),
                part("123456"),
                message_of(2, "two"),
                message_of(1, rest),
            ]
            .concat(),
        )
        .await;
        assert_eq!(two.reply().await, "two");
        let error = one.error().await;
        assert_eq!(error.kind(), ErrorKind::Reply, "{error}");
        assert!(chain(&error).concat().contains("10"), "{error:?}");
        // It is answered, so nothing is left to cancel.
        let _next = call(&channel, "3");
        let Sent::Request(_, next) = hear(&mut peer).await else {
            panic!("no request")
        };
        assert_eq!(next, "3");
    }
    let (channel, mut peer) = channel_with(&options);
    let [one, two] = calls(&channel, &mut peer).await;
    peer.send(
        [
            announced_of(1, PARTS, "12345"),
            message_of(1, "123456"),
            message_of(2, "1234567890"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(one.error().await.kind(), ErrorKind::Reply);
    assert_eq!(two.reply().await, "1234567890");
}

/// A server does not know the limit of its client, and sends parts as long as it likes.
#[tokio::test]
async fn part_that_is_longer_than_a_reply_may_be_fails_its_call_only() {
    let (channel, mut peer) = channel_with(&ConnectOptions::new().max_reply_len(10));
    let [one, two, three] = calls(&channel, &mut peer).await;
    let part = "x".repeat(64 << 10);
    peer.send(announced_of(1, PARTS, &part)).await;
    let error = one.error().await;
    assert_eq!(error.kind(), ErrorKind::Reply, "{error}");
    assert!(chain(&error).concat().contains("65536"), "{error:?}");
    assert_eq!(hear(&mut peer).await, cancel(1));
    let frames = [
        announced_of(1, PARTS, &part),
        control_of(1, CANCELLED, ""),
        message_of(2, "12345678901"),
        message_of(3, "three"),
    ];
    peer.send(frames.concat()).await;
    let error = two.error().await;
    assert_eq!(error.kind(), ErrorKind::Reply, "{error}");
    assert!(chain(&error).concat().contains("11 bytes"), "{error:?}");
    assert_eq!(three.reply().await, "three");
}

#[tokio::test]
async fn reply_with_an_id_that_is_not_in_use_ends_the_connection() {
    for id in [0, 2, 7] {
        let (channel, mut peer) = channel();
        let [one] = calls(&channel, &mut peer).await;
        peer.send([message_of(id, "what"), message_of(1, "one")].concat())
            .await;
        assert_eq!(one.error().await.kind(), ErrorKind::Broken);
        assert_eq!(patiently(peer.rest()).await, b"");
    }
    // A second reply.
    let (channel, mut peer) = channel();
    let [one, two] = calls(&channel, &mut peer).await;
    peer.send([message_of(1, "one"), message_of(1, "one")].concat())
        .await;
    assert_eq!(one.reply().await, "one");
    assert_eq!(two.error().await.kind(), ErrorKind::Broken);
}

#[tokio::test(start_paused = true)]
async fn request_is_sent_again_over_the_next_connection() {
    let (options, mut attempts) = lasting::<Multiplexed>();
    let channel = options.connect_lazily().expect("good options").idempotent();
    let calls = ["a", "b"].map(|text| call(&channel.deadline(Duration::from_secs(9)), text));
    let mut peer = attempts.accept().await;
    for text in ["a", "b"] {
        assert!(matches!(
            hear(&mut peer).await,
            Sent::Notice(_, DEADLINE, _)
        ));
        assert!(matches!(hear(&mut peer).await, Sent::Request(_, sent) if sent == text));
    }
    drop(peer);
    let mut peer = attempts.accept().await;
    for _ in 0..2 {
        assert!(matches!(
            hear(&mut peer).await,
            Sent::Notice(_, DEADLINE, _)
        ));
        let Sent::Request(id, text) = hear(&mut peer).await else {
            panic!("no request")
        };
        peer.send(message_of(id, &text)).await;
    }
    for (call, text) in calls.into_iter().zip(["a", "b"]) {
        assert_eq!(call.reply().await, text);
    }
}

/// A channel with two connections, and their servers' ends.
pub(crate) async fn pair(connect_options: ConnectOptions) -> (Channel<Multiplexed>, [RawPeer; 2]) {
    let (options, mut attempts) = lasting::<Multiplexed>();
    let options = options.connections(2).connect_options(connect_options);
    let channel = options.connect_lazily().expect("good options");
    // As long as there are events, both connect without a call.
    let _events = channel.events::<Owned>();
    let peers = [attempts.accept().await, attempts.accept().await];
    settle().await;
    (channel, peers)
}

#[tokio::test(start_paused = true)]
async fn second_request_of_a_hedge_has_the_rest_of_the_deadline() {
    let (channel, mut peers) = pair(ConnectOptions::new()).await;
    let hedged = call(
        &channel.deadline(3 * SECOND).idempotent().hedge(SECOND),
        "x",
    );
    let [one, two] = &mut peers;
    let (first, second) = tokio::join!(hear(one), hear(two));
    let mut limits = [first, second].map(|sent| match sent {
        Sent::Notice(_, DEADLINE, limit) => {
            u32::from_be_bytes(limit.try_into().expect("four bytes"))
        }
        other => panic!("{other:?}"),
    });
    limits.sort_unstable();
    assert!((1_990..=2_001).contains(&limits[0]), "{limits:?}");
    assert!((2_990..=3_001).contains(&limits[1]), "{limits:?}");
    assert_eq!(hedged.error().await.kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn no_second_request_is_sent_at_the_deadline() {
    let (channel, _peers) = pair(ConnectOptions::new()).await;
    let hedged = call(&channel.deadline(SECOND).idempotent().hedge(SECOND), "x");
    assert_eq!(hedged.error().await.kind(), ErrorKind::TimedOut);
    assert_eq!(channel.state().retries, 0);
}

/// Returns how long this thread has computed, whatever other programs take of the processors.
#[cfg(target_os = "linux")]
fn computed() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a file of Linux");
    let nanos = times.split(' ').next().expect("numbers");
    Duration::from_nanos(nanos.parse().expect("a number"))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn many_calls_that_are_dropped_together_do_not_hold_up_their_connection() {
    const CALLS: usize = 20_000;
    let options = ConnectOptions::new().max_in_flight(2 * CALLS);
    let (channel, mut peer) = channel_with(&options);
    let calls: Vec<_> = (0..CALLS).map(|_| call(&channel, "")).collect();
    for _ in 0..CALLS {
        assert!(matches!(hear(&mut peer).await, Sent::Request(..)));
    }
    // Some of these are in the hands of the driver, and nothing of them is sent.
    let others: Vec<_> = (0..CALLS).map(|_| call(&channel, "0123456789")).collect();
    settle().await;
    let began = computed();
    for call in calls.iter().chain(&others) {
        call.0.abort();
    }
    let mut cancelled = 0;
    while cancelled < 2 * CALLS {
        cancelled += usize::from(matches!(hear(&mut peer).await, Sent::Notice(..)));
    }
    let took = computed().saturating_sub(began);
    assert!(took < 5 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn connection_whose_server_does_not_answer_cancels_is_replaced() {
    let connect_options = ConnectOptions::new()
        .max_in_flight(4)
        .reply_timeout(8 * SECOND);
    let (options, mut attempts) = lasting::<Multiplexed>();
    let options = options.connect_options(connect_options);
    let channel = options.connect_lazily().expect("good options");
    let first = call(&channel, "1");
    let mut peer = attempts.accept().await;
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    first.drop().await;
    let _stream = patiently(channel.stream::<Owned>("2")).await.expect("room");
    let [third] = [call(&channel, "3")];
    settle().await;
    third.drop().await;
    for _ in 0..8 {
        // It lives, but two of four places are taken for ever.
        assert_eq!(attempts.waiting(), 0);
        sleep(SECOND).await;
        peer.send(announced_of(2, ITEMS, "")).await;
    }
    sleep(3 * SECOND).await;
    assert_eq!(channel.state().connected, 0);
    let next = call(&channel, "4");
    let mut peer = attempts.accept().await;
    let Sent::Request(id, _) = hear(&mut peer).await else {
        panic!("no request")
    };
    peer.send(message_of(id, "four")).await;
    assert_eq!(next.reply().await, "four");
    let state = channel.state();
    let error = state.last_error.expect("a reason");
    assert!(error.to_string().contains("cancel"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn time_of_a_cancel_begins_when_its_call_is_late() {
    let options = ConnectOptions::new()
        .max_in_flight(4)
        .reply_timeout(8 * SECOND);
    let (channel, mut peer) = channel_with(&options);
    let [first, second, third] = calls(&channel, &mut peer).await;
    // Something arrives, so that the server is not silent.
    let alive = control_of(1, 0xff, b"");
    for _ in 0..16 {
        sleep(SECOND).await;
        peer.send(&alive).await;
        assert_eq!(channel.state().losses, 0);
    }
    for late in [first, second, third] {
        assert_eq!(late.error().await.kind(), ErrorKind::TimedOut);
    }
    assert_eq!(channel.state().connected, 1);
    sleep(3 * SECOND).await;
    assert_eq!(channel.state().connected, 0);
}

#[tokio::test(start_paused = true)]
async fn cancels_without_an_answer_are_noticed_though_calls_have_no_limit() {
    const MINUTE: Duration = Duration::from_mins(1);
    let options = ConnectOptions::new().max_in_flight(4).reply_timeout(None);
    let (channel, mut peer) = channel_with(&options);
    let [first, second, third] = calls(&channel, &mut peer).await;
    // The time of a cancel does not begin with its call.
    sleep(10 * MINUTE).await;
    first.drop().await;
    second.drop().await;
    settle().await;
    assert_eq!(
        [hear(&mut peer).await, hear(&mut peer).await],
        [cancel(1), cancel(2)]
    );
    sleep(MINUTE / 2).await;
    assert!(!third.0.is_finished());
    let error = third.error().await;
    assert!(chain(&error).concat().contains("cancel"), "{error:?}");
}

/// Answers each request with its own text, in another order, and each cancel of a request in flight.
async fn answer_in_any_order(mut peer: RawPeer) {
    let mut in_flight = BTreeMap::new();
    let mut random = 1_u32;
    loop {
        match hear(&mut peer).await {
            Sent::Request(_, text) if text == "end" => return,
            Sent::Request(id, text) => {
                let former = in_flight.insert(id, text);
                assert!(former.is_none(), "{id} is in use");
            }
            Sent::Notice(id, CANCEL, _) => {
                if in_flight.remove(&id).is_some() {
                    peer.send(control_of(id, CANCELLED, b"")).await;
                }
            }
            notice @ Sent::Notice(..) => panic!("{notice:?}"),
        }
        random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let place = (random >> 16) as usize % 8;
        if in_flight.len() > place {
            let id = *in_flight.keys().nth(place).expect("there are more");
            let text = in_flight.remove(&id).expect("it is there");
            peer.send(message_of(id, &text)).await;
        }
    }
}

#[tokio::test]
async fn no_reply_reaches_another_call_while_others_are_cancelled() {
    let (channel, peer) = channel();
    let server = tokio::spawn(answer_in_any_order(peer));
    let tasks: Vec<_> = (0..200_usize)
        .map(|task| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut answered = 0;
                for number in 0..50 {
                    let text = format!("{task} {number}");
                    let call = channel.call::<Owned>(&text);
                    // A part of them is dropped after a while.
                    let polls = if (task + number) % 3 == 0 {
                        number % 5 + 1
                    } else {
                        usize::MAX
                    };
                    let patience = async {
                        for _ in 0..polls {
                            tokio::task::yield_now().await;
                        }
                    };
                    tokio::select! {
                        biased;
                        reply = call => {
                            assert_eq!(reply.expect("a reply"), text);
                            answered += 1;
                        }
                        () = patience => {}
                    }
                }
                answered
            })
        })
        .collect();
    // The last requests are answered as others come.
    let flush = tokio::spawn({
        let channel = channel.clone();
        async move {
            loop {
                drop(timeout(Duration::from_millis(1), channel.call::<Owned>("more")).await);
            }
        }
    });
    let mut answered = 0;
    for task in tasks {
        answered += patiently(task).await.expect("no panic");
    }
    flush.abort();
    assert!((5_000..10_000).contains(&answered), "{answered}");
    settle().await;
    drop(call(&channel, "end"));
    within(server).await.expect("no panic");
}
