//! Which requests a channel sends again, when, and how many.

use std::time::Duration;

use tcs::{
    Channel, ErrorKind, Execution,
    client::ConnectOptions,
    framing::{FrameError, Framing, Input, LengthPrefixed, Lines, ParsedFrame, Side},
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{call, settle},
    client::{Text, hears, told},
    code, control, frame,
    lasting::{Attempts, lasting},
    patiently,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

/// A channel with a connection over which this number of bytes fits, and the server's end.
async fn connected<F: Framing>(room: usize) -> (Channel<F>, Attempts, RawPeer) {
    let (options, mut attempts) = lasting();
    let patient = ConnectOptions::new().reply_timeout(Duration::from_hours(1));
    let connecting = tokio::spawn(options.connect_options(patient).connect());
    let peer = attempts.attempt().await.accept_with_room(room);
    let channel = patiently(connecting).await.expect("no panic");
    (channel.expect("it was accepted"), attempts, peer)
}

/// Calls over any framing.
fn call_over<F: Framing>(channel: &Channel<F>, request: &str) -> JoinHandle<tcs::Result<String>> {
    let (channel, request) = (channel.clone(), request.to_owned());
    tokio::spawn(async move {
        channel
            .call_with::<Text<F>, _>(&request, str::to_owned)
            .await
    })
}

/// A line.
fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// Loses a connection after one request was sent whole, one in part, and two not at all.
async fn lose<F: Framing>(framed: fn(&str) -> Vec<u8>, is_idempotent: bool) {
    let (mut channel, mut attempts, mut peer) = connected::<F>(64).await;
    if is_idempotent {
        channel = channel.idempotent();
    }
    let texts = ["a", "b", "c"].map(|text| text.repeat(70));
    let calls = texts.clone().map(|text| call_over(&channel, &text));
    let whole = framed(&texts[0]);
    assert_eq!(patiently(peer.receive(whole.len())).await, whole);
    settle().await;
    // This one the driver has not taken yet.
    let late = call_over(&channel, "late");
    settle().await;
    drop(peer);
    let mut peer = attempts.attempt().await.accept();
    let [first, second, third] = texts;
    let again = if is_idempotent {
        vec![first, second, third, "late".to_owned()]
    } else {
        vec![third, "late".to_owned()]
    };
    let mut expected: Vec<_> = again.iter().map(|text| framed(text)).collect();
    // Those that may be executed twice come again after a wait.
    for _ in 0..again.len() {
        let mut received = Vec::new();
        while !expected.contains(&received) {
            received.extend(patiently(peer.receive(1)).await);
            assert!(received.len() < 100, "{}", received.escape_ascii());
        }
        expected.retain(|request| *request != received);
        patiently(peer.send(received)).await;
    }
    for (call, text) in calls.into_iter().chain([late]).zip(["a", "b", "c", "late"]) {
        let result = patiently(call).await.expect("no panic");
        if !is_idempotent && (text == "a" || text == "b") {
            assert_eq!(told(&result.expect_err("lost")).1, Execution::Unknown);
        } else {
            assert!(result.expect("a reply").starts_with(text));
        }
    }
    assert_eq!(channel.state().retries, again.len() as u64);
    assert_eq!((channel.state().losses, attempts.count()), (1, 0));
    sleep(60 * SECOND).await;
    drop(channel);
    assert_eq!(patiently(peer.rest()).await, b"");
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_sent_is_sent_again_after_a_loss() {
    lose::<LengthPrefixed>(|text| frame(text), false).await;
    lose::<Lines>(line, false).await;
}

#[tokio::test(start_paused = true)]
async fn idempotent_requests_are_sent_again_after_a_loss() {
    lose::<LengthPrefixed>(|text| frame(text), true).await;
    lose::<Lines>(line, true).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_again_without_retries() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options
        .retries(false)
        .connect_lazily()
        .expect("good options");
    let channel = channel.idempotent();
    let first = call(&channel, "one");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "one").await;
    patiently(peer.send(control(code::BUSY, ""))).await;
    assert_eq!(first.error().await.kind(), ErrorKind::Rejected);
    let second = call(&channel, "two");
    hears(&mut peer, "two").await;
    drop(peer);
    assert_eq!(second.error().await.execution(), Execution::Unknown);
    sleep(60 * SECOND).await;
    assert_eq!(attempts.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_server_that_ends_the_connection_are_sent_to_the_next_once() {
    for kind in [code::GOING_AWAY, code::IDLE, code::TOO_MANY_CONNECTIONS] {
        let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(1 << 22).await;
        // The last one is so large that the buffer of requests has not all of it at once.
        let requests = ["1", "2", "three", "", &"x".repeat(300_000)].map(ToOwned::to_owned);
        let calls = requests.clone().map(|request| call(&channel, &request));
        for request in &requests {
            hears(&mut peer, request).await;
        }
        let answers = [frame("one"), frame("two"), control(kind, "bye")].concat();
        patiently(peer.send(answers)).await;
        let mut next = attempts.attempt().await.accept_with_room(1 << 22);
        let [first, second, others @ ..] = calls;
        assert_eq!(first.reply().await, "one");
        assert_eq!(second.reply().await, "two");
        let mut expected = requests[2..].to_vec();
        for _ in 0..3 {
            let request = patiently(next.ask_back()).await;
            assert!(expected.contains(&request));
            expected.retain(|other| *other != request);
        }
        for (call, request) in others.into_iter().zip(&requests[2..]) {
            assert_eq!(call.reply().await, *request);
        }
        assert_eq!(channel.state().retries, 3);
        sleep(60 * SECOND).await;
        drop(channel);
        assert_eq!(patiently(next.rest()).await, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn protocol_error_is_not_sent_again() {
    let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(1 << 10).await;
    let calls = ["one", "two"].map(|request| call(&channel.idempotent(), request));
    hears(&mut peer, "one").await;
    hears(&mut peer, "two").await;
    patiently(peer.send(control(code::PROTOCOL_ERROR, "why"))).await;
    for call in calls {
        let error = call.error().await;
        assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    }
    sleep(60 * SECOND).await;
    assert_eq!((channel.state().retries, attempts.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn request_that_was_rejected_for_what_it_is_is_not_sent_again() {
    let (channel, _attempts, mut peer) = connected::<LengthPrefixed>(1 << 10).await;
    for kind in [
        code::ERROR,
        code::BAD_REQUEST,
        code::TOO_LARGE,
        code::TIMED_OUT,
        code::FAILED,
    ] {
        let rejected = call(&channel.idempotent(), "one");
        hears(&mut peer, "one").await;
        patiently(peer.send(control(kind, "why"))).await;
        assert_eq!(rejected.error().await.kind(), ErrorKind::Rejected);
    }
    sleep(SECOND).await;
    let state = channel.state();
    assert_eq!((state.retries, state.connects), (0, 1));
    drop(channel);
    assert_eq!(patiently(peer.rest()).await, b"");
}

#[tokio::test(start_paused = true)]
async fn busy_server_is_asked_again_after_random_waits_that_grow_to_a_second() {
    let (channel, _attempts, mut peer) = connected::<LengthPrefixed>(1 << 10).await;
    let call = call(&channel, "one");
    let mut most = Duration::from_millis(10);
    let mut longest = Duration::ZERO;
    hears(&mut peer, "one").await;
    for number in 0..30 {
        patiently(peer.send(control(code::BUSY, ""))).await;
        let began = Instant::now();
        hears(&mut peer, "one").await;
        let waited = began.elapsed();
        let limit = most + Duration::from_millis(1);
        assert!(waited <= limit, "{number}: {waited:?}");
        longest = longest.max(waited);
        most = (2 * most).min(SECOND);
    }
    assert!(longest > SECOND / 2, "{longest:?}");
    patiently(peer.send(frame("1"))).await;
    assert_eq!(call.outcome().await.expect("a reply"), "1");
}

/// Answers each request with *busy*. Returns their number when the channel is gone.
fn always_busy(mut peer: RawPeer) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut count = 0;
        while let Heard::Message(_) = peer.hear().await {
            count += 1;
            // The channel may have gone meanwhile.
            drop(peer.try_send(control(code::BUSY, "")).await);
        }
        count
    })
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_server_that_is_always_busy_have_a_budget() {
    let (channel, _attempts, peer) = connected::<LengthPrefixed>(1 << 16).await;
    let server = always_busy(peer);
    let began = Instant::now();
    let calls: Vec<_> = (0..500).map(|_| call(&channel, "one")).collect();
    for call in calls {
        let error = call.outcome().await.expect_err("it is busy");
        assert_eq!(told(&error), (ErrorKind::Rejected, Execution::NotExecuted));
    }
    let (retries, passed) = (channel.state().retries, began.elapsed().as_secs());
    assert!(passed < 60, "{passed}");
    let most = 100 + 10 * (passed + 1);
    assert!((100..=most).contains(&retries), "{retries} in {passed} s");
    drop(channel);
    assert_eq!(patiently(server).await.expect("no panic"), 500 + retries);
}

#[tokio::test(start_paused = true)]
async fn calls_that_find_no_retry_in_the_budget_say_so() {
    let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(1 << 16).await;
    let idempotent = channel.idempotent();
    let calls: Vec<_> = (0..150).map(|_| call(&idempotent, "one")).collect();
    for _ in &calls {
        hears(&mut peer, "one").await;
    }
    drop(peer);
    let mut peer = attempts.accept().await;
    for _ in 0..100 {
        assert_eq!(patiently(peer.ask_back()).await, "one");
    }
    let mut failed = 0;
    for call in calls {
        if let Err(error) = call.outcome().await {
            assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
            let text = error.to_string();
            let end = "it was not sent again, because the budget of retries is used up";
            assert!(text.ends_with(end), "{text}");
            failed += 1;
        }
    }
    let state = channel.state();
    assert_eq!(
        (failed, state.retries, state.retries_refused),
        (50, 100, 50)
    );
}

#[tokio::test(start_paused = true)]
async fn answered_calls_pay_for_retries() {
    let (channel, _attempts, mut peer) = connected::<LengthPrefixed>(1 << 16).await;
    for _ in 0..1_000 {
        let one = call(&channel, "one");
        patiently(peer.ask_back()).await;
        one.reply().await;
    }
    let server = always_busy(peer);
    let calls: Vec<_> = (0..1_000).map(|_| call(&channel, "one")).collect();
    sleep(Duration::from_millis(100)).await;
    let retries = channel.state().retries;
    assert!((300..=302).contains(&retries), "{retries}");
    drop(calls);
    drop(channel);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn error_of_a_retry_says_that_an_earlier_attempt_may_have_been_executed() {
    for deadline in [None, Some(SECOND)] {
        let (options, mut attempts) = lasting();
        let options = options.deadline(deadline);
        let channel: Channel = options.connect_lazily().expect("good options");
        let lost = call(&channel.idempotent(), "one");
        let mut peer = attempts.accept().await;
        hears(&mut peer, "one").await;
        drop(peer);
        // The next one is never there.
        let refusing = tokio::spawn(async move {
            loop {
                attempts.attempt().await.refuse();
            }
        });
        let error = lost.outcome().await.expect_err("the server is away");
        assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
        refusing.abort();
    }
    let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(64).await;
    let lost = call(&channel.idempotent(), "one");
    hears(&mut peer, "one").await;
    drop(peer);
    let mut peer = attempts.accept().await;
    hears(&mut peer, "one").await;
    patiently(peer.send(control(code::BAD_REQUEST, "why"))).await;
    let error = lost.outcome().await.expect_err("it was rejected");
    assert_eq!(told(&error), (ErrorKind::Rejected, Execution::Unknown));
}

#[tokio::test(start_paused = true)]
async fn request_that_finds_no_connection_again_is_no_retry() {
    let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(1 << 10).await;
    let limited = channel.deadline(10 * SECOND);
    let call = call(&limited, "one");
    hears(&mut peer, "one").await;
    patiently(peer.send(control(code::GOING_AWAY, ""))).await;
    drop(peer);
    let undecided = attempts.attempt().await;
    let error = call.outcome().await.expect_err("no connection");
    // It was sent, and the server has said that it goes.
    assert_eq!(error.execution(), Execution::NotExecuted);
    assert_eq!(channel.state().retries, 0);
    drop(undecided);
}

#[tokio::test(start_paused = true)]
async fn request_is_not_kept_beyond_4_mib_of_later_ones() {
    let (channel, mut attempts, mut peer) = connected::<LengthPrefixed>(1 << 22).await;
    let channel = channel.idempotent();
    let first = call(&channel, "one");
    hears(&mut peer, "one").await;
    let texts = ["a", "b", "c", "d", "e"].map(|text| text.repeat(1_000_000));
    let mut later = Vec::new();
    for text in &texts {
        later.push(call(&channel, text));
        hears(&mut peer, text).await;
    }
    drop(peer);
    assert_eq!(first.error().await.execution(), Execution::Unknown);
    let mut peer = attempts.attempt().await.accept_with_room(1 << 22);
    for _ in &texts {
        patiently(peer.ask_back()).await;
    }
    for (call, text) in later.into_iter().zip(&texts) {
        assert_eq!(call.reply().await, *text);
    }
    assert_eq!(channel.state().retries, 5);
}

/// Lines that panic when a request is read.
#[derive(Default)]
struct Touchy;

impl Framing for Touchy {
    const HAS_INDEPENDENT_FRAMES: bool = true;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        assert_eq!(input.side(), Side::Client, "on purpose");
        let end = input.bytes().iter().position(|byte| *byte == b'\n');
        Ok(end.map(|end| ParsedFrame::message(0..end, end + 1)))
    }

    fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        out.push(b'\n');
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_is_left_to_the_next_connection_though_the_framing_panics_on_its_request() {
    let (channel, mut attempts, mut peer) = connected::<Touchy>(1 << 10).await;
    let channel = channel.idempotent();
    let lost = ["a", "b"].map(|request| call_over(&channel, request));
    assert_eq!(patiently(peer.receive(4)).await, b"a\nb\n");
    drop(peer);
    for call in lost {
        let error = patiently(call).await.expect("no panic").expect_err("lost");
        assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
    }
    let next = call_over(&channel, "c");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.receive(2)).await, b"c\n");
    peer.send("C\n").await;
    let reply = patiently(next).await.expect("no panic");
    assert_eq!(reply.expect("a reply"), "C");
}
