//! A late request is sent once more, over another connection of its channel.

use std::time::Duration;

use tcs::{
    Channel, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    format::Json,
    server_protocol,
};
use tcs_tests::{
    Heard, RawPeer,
    channel::{Owned, call, settle},
    client::hears,
    code, control, frame,
    lasting::lasting,
    patiently, within,
};
use tokio::time::{Instant, sleep, timeout};

use crate::pool::{listen, pair, pair_with};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn hedge_sends_a_late_request_over_another_connection() {
    for first_answers in [false, true] {
        let (channel, _attempts, [mut one, mut two]) = pair().await;
        let hedged = call(&channel.idempotent().hedge(SECOND), "x");
        let began = Instant::now();
        let (first, second) = tokio::select! {
            x = one.hear() => { assert_eq!(x, Heard::message("x")); (&mut one, &mut two) }
            x = two.hear() => { assert_eq!(x, Heard::message("x")); (&mut two, &mut one) }
        };
        hears(second, "x").await;
        let waited = began.elapsed();
        assert!(
            waited >= SECOND && waited <= SECOND + Duration::from_millis(2),
            "{waited:?}"
        );
        let (answering, late) = if first_answers {
            (first, second)
        } else {
            (second, first)
        };
        patiently(answering.send(frame("1"))).await;
        assert_eq!(hedged.outcome().await.expect("a reply"), "1");
        assert_eq!(channel.state().retries, 1);
        // The other reply reaches nobody.
        patiently(late.send(frame("2"))).await;
        settle().await;
        let calls = [call(&channel, "y"), call(&channel, "y")];
        hears(&mut one, "y").await;
        hears(&mut two, "y").await;
        patiently(one.send(frame("3"))).await;
        patiently(two.send(frame("3"))).await;
        for call in calls {
            assert_eq!(call.reply().await, "3");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_waits_for_the_other_request_if_one_fails() {
    for first_fails in [false, true] {
        let (channel, _attempts, [mut one, mut two]) = pair().await;
        let hedged = call(&channel.idempotent().hedge(SECOND), "x");
        let is_one_first = tokio::select! {
            _ = one.hear() => true,
            _ = two.hear() => false,
        };
        let (first, mut second) = if is_one_first { (one, two) } else { (two, one) };
        hears(&mut second, "x").await;
        let (fails, mut answers) = if first_fails {
            (first, second)
        } else {
            (second, first)
        };
        drop(fails);
        settle().await;
        assert!(!hedged.is_over());
        patiently(answers.send(frame("1"))).await;
        assert_eq!(hedged.outcome().await.expect("a reply"), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_was_not_executed_if_both_requests_were_rejected() {
    for (is_lost, execution) in [(false, Execution::NotExecuted), (true, Execution::Unknown)] {
        let (channel, _attempts, [mut one, mut two]) = pair().await;
        let hedged = call(&channel.idempotent().hedge(SECOND), "x");
        hears(&mut one, "x").await;
        hears(&mut two, "x").await;
        if is_lost {
            drop(one);
        } else {
            patiently(one.send(control(code::TOO_LARGE, ""))).await;
        }
        settle().await;
        assert!(!hedged.is_over());
        patiently(two.send(control(code::TOO_LARGE, ""))).await;
        let error = hedged.outcome().await.expect_err("it was rejected");
        assert_eq!(error.execution(), execution);
    }
}

#[tokio::test]
async fn late_hedge_names_the_server_that_has_not_failed() {
    let listeners = [listen().await, listen().await];
    let patient = ConnectOptions::new().reply_timeout(100 * SECOND);
    let options: ChannelOptions = ChannelOptions::new(listeners[0].1)
        .address(listeners[1].1)
        .connect_options(patient);
    let channel = options.connect_lazily().expect("good options");
    // As long as there are events, both connect without a call.
    let _events = channel.events::<Owned>();
    let mut peers = Vec::new();
    for (listener, addr) in listeners {
        let (stream, _) = within(listener.accept()).await.expect("a connection");
        peers.push((RawPeer::of(stream), addr));
    }
    within(async {
        while channel.state().connected < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let hedging = channel.idempotent().hedge(Duration::from_millis(10));
    let hedged = call(&hedging.deadline(10 * SECOND), "x");
    let [(one, _), (two, _)] = &mut *peers else {
        panic!("two connections");
    };
    let is_one_first = tokio::select! {
        _ = one.hear() => true,
        _ = two.hear() => false,
    };
    let (mut second, left) = peers.remove(usize::from(is_one_first));
    hears(&mut second, "x").await;
    drop(peers);
    within(async {
        while channel.state().losses == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tokio::time::pause();
    let error = hedged.outcome().await.expect_err("no reply");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.peer_addr(), Some(left));
}

#[tokio::test(start_paused = true)]
async fn error_of_the_function_is_the_first_reply_of_a_hedge() {
    let (channel, _attempts, mut peers) = pair().await;
    let hedged = call(&channel.idempotent().hedge(SECOND), "x");
    for peer in &mut peers {
        hears(peer, "x").await;
    }
    patiently(peers[0].send(control(code::ERROR, "no such account"))).await;
    let error = patiently(hedged.outcome()).await.expect_err("it failed");
    assert_eq!(error.execution(), Execution::Executed);
    drop(peers);
}

#[tokio::test(start_paused = true)]
async fn hedge_is_within_the_budget_of_retries() {
    let (channel, _attempts, [mut one, mut two]) = pair().await;
    let calls: Vec<_> = (0..150)
        .map(|_| call(&channel.idempotent().hedge(SECOND), "x"))
        .collect();
    for _ in 0..75 {
        hears(&mut one, "x").await;
        hears(&mut two, "x").await;
    }
    sleep(2 * SECOND).await;
    let state = channel.state();
    let retries = state.retries;
    assert!((100..=122).contains(&retries), "{retries}");
    assert_eq!(retries + state.retries_refused, 150);
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn hedge_without_retries_sends_one_request() {
    let (channel, _attempts, [mut one, mut two]) = pair_with(|it| it.retries(false)).await;
    let hedged = call(&channel.idempotent().hedge(SECOND), "x");
    let (mut first, mut second) = tokio::select! {
        _ = one.hear() => (one, two),
        _ = two.hear() => (two, one),
    };
    let other = timeout(10 * SECOND, second.hear()).await;
    assert!(other.is_err(), "{other:?}");
    patiently(first.send(frame("1"))).await;
    assert_eq!(hedged.reply().await, "1");
}

#[tokio::test(start_paused = true)]
async fn hedge_that_finds_no_room_is_no_retry() {
    let options = ConnectOptions::new().max_in_flight(1).reply_timeout(None);
    let set = |channel: ChannelOptions| channel.connect_options(options);
    let (channel, _attempts, mut peers) = pair_with(set).await;
    let calls = [(); 2].map(|()| call(&channel.idempotent().hedge(SECOND), "x"));
    for peer in &mut peers {
        hears(peer, "x").await;
    }
    sleep(2 * SECOND).await;
    assert_eq!(channel.state().retries, 0);
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn hedge_needs_another_connection() {
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let hedged = call(&channel.idempotent().hedge(SECOND), "x");
    let mut peer = attempts.accept().await;
    hears(&mut peer, "x").await;
    sleep(10 * SECOND).await;
    patiently(peer.send(frame("1"))).await;
    assert_eq!(hedged.reply().await, "1");
    drop(channel);
    assert_eq!(patiently(peer.rest()).await, b"");
    assert_eq!(attempts.ended().await, 0);
}

#[server_protocol(format = Json)]
mod shop {
    #[idempotent]
    pub fn price(item: &str) -> usize {
        item.len()
    }

    pub fn buy(item: &str) -> usize {
        item.len()
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_is_for_operations_that_are_marked_and_marks_none() {
    const BUY: &str = r#"{"buy":{"item":"tea"}}"#;
    const PRICE: &str = r#"{"price":{"item":"tea"}}"#;
    let (channel, _attempts, [mut one, mut two]) = pair().await;
    let client = shop::Client::over(channel.hedge(SECOND));
    let buy = || {
        let client = client.clone();
        tokio::spawn(async move { client.buy("tea").await })
    };

    let bought = buy();
    let is_one = tokio::select! {
        request = one.hear() => { assert_eq!(request, Heard::message(BUY)); true }
        request = two.hear() => { assert_eq!(request, Heard::message(BUY)); false }
    };
    sleep(10 * SECOND).await;
    assert_eq!(channel.state().retries, 0);
    let first = if is_one { &mut one } else { &mut two };
    patiently(first.send(frame(r#"{"buy":3}"#))).await;
    assert_eq!(
        patiently(bought).await.expect("no panic").expect("a reply"),
        3
    );

    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.price("tea").await });
    hears(&mut one, PRICE).await;
    hears(&mut two, PRICE).await;
    assert_eq!(channel.state().retries, 1);
    for peer in [&mut one, &mut two] {
        patiently(peer.send(frame(r#"{"price":3}"#))).await;
    }
    assert_eq!(
        patiently(asked).await.expect("no panic").expect("a reply"),
        3
    );
    settle().await;

    let lost = buy();
    let other = tokio::select! {
        _ = one.hear() => { drop(one); two }
        _ = two.hear() => { drop(two); one }
    };
    let error = patiently(lost).await.expect("no panic").expect_err("lost");
    assert_eq!(error.execution(), Execution::Unknown);
    sleep(10 * SECOND).await;
    drop((client, channel));
    let mut other = other;
    assert_eq!(patiently(other.rest()).await, b"");
}
