//! What a channel's callers wait for when more is asked than may be in flight.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use tcs::{ErrorKind, Execution, client::ConnectOptions};
use tcs_tests::{
    Heard,
    channel::{Owned, call, settle},
    client::hears,
    frame, memory, within,
};

#[tokio::test]
async fn calls_beyond_the_limit_wait_in_turn() {
    let options = ConnectOptions::new().max_in_flight(2);
    let (channel, mut peer, writes) = memory::counted_channel(&options, 1 << 10);
    let mut calls = Vec::new();
    for number in 0..6 {
        calls.push(call(&channel, &number.to_string()));
        settle().await;
    }
    assert_eq!(writes.take().iter().sum::<usize>(), 2 * 5);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(writes.take(), [] as [usize; 0]);
        hears(&mut peer, &number.to_string()).await;
        within(peer.send(frame(number.to_string().as_bytes()))).await;
        assert_eq!(call.reply().await, number.to_string());
        settle().await;
        let more = if number < 4 { 5 } else { 0 };
        assert_eq!(writes.take().iter().sum::<usize>(), more, "{number}");
    }
}

#[tokio::test]
async fn caller_that_goes_leaves_its_turn_to_the_next() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let open = call(&channel, "open");
    hears(&mut peer, "open").await;
    let (gone, next) = (call(&channel, "gone"), call(&channel, "next"));
    settle().await;
    gone.drop().await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(open.reply().await, "1");
    hears(&mut peer, "next").await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(next.reply().await, "2");
}

#[tokio::test(start_paused = true)]
async fn call_that_is_not_polled_holds_up_no_other() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let open = call(&channel, "open");
    hears(&mut peer, "open").await;
    let mut unpolled = pin!(channel.call::<Owned>("unpolled"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(unpolled.as_mut().poll(&mut cx).is_pending());
    let next = call(&channel, "next");
    settle().await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(open.reply().await, "1");
    hears(&mut peer, "next").await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(next.reply().await, "2");
    let server = async {
        hears(&mut peer, "unpolled").await;
        within(peer.send(frame(b"3"))).await;
    };
    let (reply, ()) = tokio::join!(unpolled, server);
    assert_eq!(reply.expect("a reply"), "3");
}

#[tokio::test]
async fn request_that_cannot_be_sent_leaves_its_turn_to_the_next() {
    // Without a timer that would have the driver look for those who wait.
    let options = ConnectOptions::new()
        .max_in_flight(1)
        .max_frame_len(10)
        .reply_timeout(None);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let open = call(&channel, "open");
    hears(&mut peer, "open").await;
    let (large, next) = (call(&channel, "0123456789a"), call(&channel, "next"));
    settle().await;
    within(peer.send(frame(b"1"))).await;
    assert_eq!(open.reply().await, "1");
    assert_eq!(large.error().await.kind(), ErrorKind::Request);
    hears(&mut peer, "next").await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(next.reply().await, "2");
}

#[tokio::test]
async fn caller_that_asks_again_waits_behind_those_who_wait() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let again = tokio::spawn({
        let channel = channel.clone();
        async move {
            channel.call::<Owned>("first").await?;
            channel.call::<Owned>("again").await
        }
    });
    hears(&mut peer, "first").await;
    let waits = call(&channel, "waits");
    settle().await;
    within(peer.send(frame(b"1"))).await;
    for request in ["waits", "again"] {
        hears(&mut peer, request).await;
        within(peer.send(frame(request.as_bytes()))).await;
    }
    assert_eq!(waits.reply().await, "waits");
    let again = within(again).await.expect("no panic");
    assert_eq!(again.expect("a reply"), "again");
}

#[tokio::test]
async fn abandoned_call_keeps_its_room_until_its_reply_came() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let open = call(&channel, "open");
    hears(&mut peer, "open").await;
    open.drop().await;
    let next = call(&channel, "next");
    settle().await;
    within(peer.send(frame(b"1"))).await;
    hears(&mut peer, "next").await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(next.reply().await, "2");
}

#[tokio::test]
async fn call_that_is_dropped_with_its_reply_leaves_its_room_to_the_next() {
    // Without a timer that would have the driver look for those who wait.
    let options = ConnectOptions::new().max_in_flight(1).reply_timeout(None);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let mut open = Box::pin(channel.call::<Owned>("open"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(open.as_mut().poll(&mut cx).is_pending());
    let next = call(&channel, "next");
    hears(&mut peer, "open").await;
    // Its task would run again only now.
    within(peer.send(frame(b"1"))).await;
    settle().await;
    drop(open);
    hears(&mut peer, "next").await;
    within(peer.send(frame(b"2"))).await;
    assert_eq!(next.reply().await, "2");
}

#[tokio::test(start_paused = true)]
async fn caller_without_room_gives_up_in_time() {
    let options = ConnectOptions::new()
        .max_in_flight(1)
        .reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let open = call(&channel, "open");
    hears(&mut peer, "open").await;
    let began = tokio::time::Instant::now();
    let waits = call(&channel, "waits");
    let error = waits.error().await;
    assert_eq!(
        (error.kind(), error.execution(), error.to_string().as_str()),
        (
            ErrorKind::TimedOut,
            Execution::NotSent,
            "no room for a request to unnamed peer within 8s (`reply_timeout`): too many are in \
             flight (`max_in_flight`) or too large"
        )
    );
    assert_eq!(began.elapsed().as_secs(), 8);
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn large_requests_wait_until_those_before_them_are_sent() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, peer) = memory::channel_with(&options, 1 << 10);
    let large = "x".repeat(600_000);
    // One is being sent; two of them are queued; for the fourth there is no room.
    let first = call(&channel, &large);
    settle().await;
    let (second, third) = (call(&channel, &large), call(&channel, &large));
    settle().await;
    let fourth = call(&channel, &large);
    settle().await;
    // A small one waits after it.
    for without_room in [fourth, call(&channel, "small")] {
        let error = without_room.error().await;
        assert_eq!(error.execution(), Execution::NotSent);
        assert!(error.to_string().starts_with("no room"), "{error}");
    }
    drop((first, second, third, peer));
}

#[tokio::test]
async fn large_requests_that_are_sent_leave_room_for_others() {
    let (channel, mut peer) = memory::channel(1 << 10);
    let large = "x".repeat(600_000);
    let calls = [(); 6].map(|()| {
        let large = &large;
        call(&channel, large)
    });
    let server = tokio::spawn(async move {
        for _ in 0..6 {
            let heard = within(peer.hear()).await;
            assert!(matches!(heard, Heard::Message(large) if large.len() == 600_000));
            within(peer.send(frame(b"1"))).await;
        }
    });
    for call in calls {
        assert_eq!(call.reply().await, "1");
    }
    within(server).await.expect("all was read");
}

#[tokio::test]
async fn callers_that_wait_for_room_hear_of_the_end() {
    let options = ConnectOptions::new().max_in_flight(1);
    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let (open, waits) = (call(&channel, "open"), call(&channel, "waits"));
    hears(&mut peer, "open").await;
    settle().await;
    drop(peer);
    assert_eq!(open.error().await.execution(), Execution::Unknown);
    assert_eq!(waits.error().await.execution(), Execution::NotSent);

    let (channel, mut peer) = memory::channel_with(&options, 1 << 10);
    let (open, waits) = (call(&channel, "open"), call(&channel, "waits"));
    hears(&mut peer, "open").await;
    open.drop().await;
    settle().await;
    // Nobody takes what becomes of the call that is open.
    drop(peer);
    assert_eq!(waits.error().await.execution(), Execution::NotSent);
}
