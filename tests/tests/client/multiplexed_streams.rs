//! Streamed replies over a channel: items, credit, and their times.

use std::{future::poll_fn, pin::Pin, time::Duration};

use futures_core::Stream as _;
use tcs::{
    ErrorKind,
    client::{ChannelItems, ConnectOptions},
    framing::Multiplexed,
};
use tcs_tests::{
    channel::settle,
    ids::{
        announced_of, control_of,
        kind::{CANCELLED, CREDIT, DEADLINE, ITEMS, PARTS},
        message_of,
    },
    lasting::lasting,
    memory, patiently, within,
};
use tokio::time::{Instant, sleep, timeout};

use super::multiplexed_channel::{
    Owned, SECOND, Sent, call, cancel, channel, channel_with, hear, request,
};

/// Receives an item.
async fn item(items: &mut ChannelItems<Owned>) -> Option<String> {
    let item = patiently(items.next()).await.expect("no error");
    item.map(str::to_owned)
}

#[tokio::test]
async fn items_come_between_the_replies_to_other_calls() {
    let (channel, mut peer) = channel();
    let mut stream = within(channel.stream::<Owned>("1")).await.expect("room");
    let mut empty = within(channel.stream::<Owned>("2")).await.expect("room");
    let three = call(&channel, "3");
    for id in 1..4 {
        assert_eq!(hear(&mut peer).await, request(id, &id.to_string()));
    }
    let frames = [
        announced_of(1, ITEMS, "a"),
        message_of(3, "three"),
        announced_of(1, ITEMS, ""),
        message_of(2, "none"),
    ];
    peer.send(frames.concat()).await;
    assert_eq!(three.reply().await, "three");
    assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
    assert_eq!(item(&mut stream).await.as_deref(), Some(""));
    assert_eq!(item(&mut empty).await, None);
    assert_eq!(within(empty.finish()).await.expect("the reply"), "none");
    let waiting = tokio::spawn(async move { (item(&mut stream).await, stream) });
    settle().await;
    let frames = [
        announced_of(1, ITEMS, "b"),
        announced_of(1, PARTS, "en"),
        message_of(1, "d"),
    ];
    peer.send(frames.concat()).await;
    let (last, mut stream) = within(waiting).await.expect("no panic");
    assert_eq!(last.as_deref(), Some("b"));
    assert_eq!(item(&mut stream).await, None);
    assert_eq!(within(stream.finish()).await.expect("the reply"), "end");
    // Their ids are free.
    drop(call(&channel, "4"));
    assert_eq!(hear(&mut peer).await, request(1, "4"));
}

#[tokio::test(start_paused = true)]
async fn old_connection_is_not_replaced_before_its_streams_have_ended() {
    let (options, mut attempts) = lasting::<Multiplexed>();
    let patient = ConnectOptions::new().reply_timeout(Duration::from_hours(12));
    let options = options.connect_options(patient).idle_timeout(None);
    let channel = options.max_age(100 * SECOND).connect_lazily();
    let channel = channel.expect("good options");
    let streaming = tokio::spawn({
        let channel = channel.clone();
        async move { channel.stream::<Owned>("1").await }
    });
    let mut peer = attempts.accept().await;
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let mut stream = patiently(streaming).await.expect("no panic").expect("room");
    for _ in 0..3 {
        sleep(100 * SECOND).await;
        peer.send(announced_of(1, ITEMS, "a")).await;
        assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
        // No call waits for the end of the stream.
        let call = call(&channel, "2");
        assert_eq!(hear(&mut peer).await, request(2, "2"));
        peer.send(message_of(2, "two")).await;
        assert_eq!(call.reply().await, "two");
    }
    assert_eq!(attempts.waiting(), 0);
    peer.send(message_of(1, "end")).await;
    assert_eq!(item(&mut stream).await, None);
    let ended = Instant::now();
    // A stream that begins while the next connection is opened is waited for as well.
    let attempt = attempts.attempt().await;
    let waited = attempt.began - ended;
    assert!(waited <= SECOND + Duration::from_millis(2), "{waited:?}");
    let streaming = tokio::spawn({
        let channel = channel.clone();
        async move { channel.stream::<Owned>("3").await }
    });
    let mut stream = patiently(streaming).await.expect("no panic").expect("room");
    let unused = attempt.accept();
    settle().await;
    let call = call(&channel, "4");
    settle().await;
    let requests = [hear(&mut peer).await, hear(&mut peer).await];
    let id_of = |text: &str| {
        requests.iter().find_map(|sent| match sent {
            Sent::Request(id, request) if request == text => Some(*id),
            _ => None,
        })
    };
    let (third, fourth) = (
        id_of("3").expect("it is sent"),
        id_of("4").expect("it is sent"),
    );
    peer.send([message_of(fourth, "four"), message_of(third, "end")].concat())
        .await;
    assert_eq!(call.reply().await, "four");
    assert_eq!(item(&mut stream).await, None);
    drop(unused);
    let mut next = attempts.accept().await;
    assert_eq!(patiently(peer.rest()).await, b"");
    let call = self::call(&channel, "5");
    assert_eq!(hear(&mut next).await, request(1, "5"));
    next.send(message_of(1, "five")).await;
    assert_eq!(call.reply().await, "five");
}

#[tokio::test(start_paused = true)]
async fn old_connection_that_a_stream_keeps_is_pinged() {
    let (options, mut attempts) = lasting::<Multiplexed>();
    let patient = ConnectOptions::new().reply_timeout(Duration::from_hours(12));
    let options = options.connect_options(patient).max_age(10 * SECOND);
    let channel = options.ping_interval(8 * SECOND).connect_lazily();
    let channel = channel.expect("good options");
    let streaming = tokio::spawn(async move { channel.stream::<Owned>("1").await });
    let mut peer = attempts.accept().await;
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let _stream = patiently(streaming).await.expect("no panic").expect("room");
    for _ in 0..10 {
        let ping = timeout(10 * SECOND, hear(&mut peer)).await;
        assert_eq!(ping.expect("a ping"), Sent::Notice(0, 0x80, Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_begins_anew_after_an_item() {
    let (options, mut attempts) = lasting::<Multiplexed>();
    let channel = options.connect_lazily().expect("good options");
    let streaming = tokio::spawn({
        let channel = channel.clone();
        async move { channel.stream::<Owned>("1").await }
    });
    // The next wait would be at least 800 ms.
    for _ in 0..6 {
        attempts.attempt().await.refuse();
    }
    let mut peer = attempts.accept().await;
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let mut stream = patiently(streaming).await.expect("no panic").expect("room");
    peer.send(announced_of(1, ITEMS, "a")).await;
    assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
    drop(peer);
    patiently(stream.next()).await.expect_err("it is lost");
    let lost = Instant::now();
    let _next = call(&channel, "2");
    let waited = attempts.attempt().await.began - lost;
    assert!(waited <= Duration::from_millis(101), "{waited:?}");
}

#[tokio::test]
async fn items_for_a_call_are_its_error_also_after_a_stream() {
    let (channel, mut peer) = channel();
    let mut stream = within(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    peer.send([announced_of(1, ITEMS, "a"), message_of(1, "end")].concat())
        .await;
    assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
    assert_eq!(item(&mut stream).await, None);
    // The id of the stream is used again.
    let call = call(&channel, "2");
    assert_eq!(hear(&mut peer).await, request(1, "2"));
    peer.send([announced_of(1, ITEMS, "b"), message_of(1, "end")].concat())
        .await;
    let error = within(call.0).await.expect("no panic");
    assert_eq!(error.expect_err("items").kind(), ErrorKind::Reply);
}

#[tokio::test]
async fn stream_ends_with_an_error_after_its_items_and_a_dropped_one_is_cancelled() {
    let (channel, mut peer) = channel();
    let mut stream = within(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    peer.send([announced_of(1, ITEMS, "a"), control_of(1, 0x01, "no")].concat())
        .await;
    assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
    let error = within(stream.next()).await.expect_err("it was rejected");
    assert_eq!(error.rejection().expect("a rejection").text(), "no");
    assert_eq!(item(&mut stream).await, None);
    let mut dropped = within(channel.stream::<Owned>("2")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "2"));
    peer.send(announced_of(1, ITEMS, "a")).await;
    assert_eq!(item(&mut dropped).await.as_deref(), Some("a"));
    drop(dropped);
    assert_eq!(hear(&mut peer).await, cancel(1));
    // What was on its way is dropped.
    peer.send([announced_of(1, ITEMS, "b"), control_of(1, CANCELLED, "")].concat())
        .await;
    let next = call(&channel, "3");
    let Sent::Request(id, _) = hear(&mut peer).await else {
        panic!("no request")
    };
    peer.send(message_of(id, "three")).await;
    assert_eq!(next.reply().await, "three");
}

#[tokio::test(start_paused = true)]
async fn credit_and_cancels_overtake_the_requests_that_were_not_sent() {
    // Less than one request fits between the ends.
    let (channel, mut peer) = memory::channel::<Multiplexed>(1 << 10);
    let mut stream = within(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let second = call(&channel, "2");
    assert_eq!(hear(&mut peer).await, request(2, "2"));
    let large = |number: u32| format!("{number:04096}");
    let late = channel.deadline(3_600 * SECOND);
    let mut calls: Vec<_> = (3..=40).map(|it| call(&late, &large(it))).collect();
    settle().await;
    calls.extend((41..=60).map(|it| call(&late, &large(it))));
    settle().await;
    let text = "x".repeat(64 * 1024 - 8);
    for _ in 0..2 {
        patiently(peer.send(announced_of(1, ITEMS, &text))).await;
        assert_eq!(item(&mut stream).await.as_ref(), Some(&text));
    }
    settle().await;
    second.drop().await;
    // Two whose requests are not sent either.
    calls.remove(50 - 3).drop().await;
    calls.remove(30 - 3).drop().await;
    settle().await;
    let mut sent = Vec::new();
    while sent.last() != Some(&request(60, &large(60))) {
        sent.push(hear(&mut peer).await);
    }
    // Behind all that had waited with its request.
    sent.push(hear(&mut peer).await);
    let credit = Sent::Notice(1, CREDIT, vec![0, 2, 0, 0]);
    let place_of = |it: &Sent| sent.iter().position(|sent| sent == it).expect("it is sent");
    // Behind the request of which a part was sent.
    assert_eq!((place_of(&credit), place_of(&cancel(2))), (2, 3));
    for id in 3..=60 {
        let place = place_of(&request(id, &large(id)));
        assert!(
            matches!(sent[place - 1], Sent::Notice(of, DEADLINE, _) if of == id),
            "{id}"
        );
    }
    assert_eq!(
        place_of(&cancel(30)),
        place_of(&request(30, &large(30))) + 1
    );
    assert!(place_of(&cancel(50)) > place_of(&request(50, &large(50))));
    assert_eq!(sent.len(), 2 * 58 + 4);
    // Each has its own reply, though its request has moved.
    for id in (3..=60).filter(|id| ![30, 50].contains(id)) {
        patiently(peer.send(message_of(id, id.to_string()))).await;
    }
    let ids = (3..=60).filter(|id| ![30, 50].contains(id));
    for (call, id) in calls.into_iter().zip(ids) {
        assert_eq!(call.reply().await, id.to_string());
    }
}

#[tokio::test]
async fn credit_is_returned_for_half_of_the_items_that_were_received() {
    let (channel, mut peer) = channel();
    let mut stream = within(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let large = "x".repeat(64 * 1024 - 8);
    for _ in 0..3 {
        for _ in 0..2 {
            peer.send(announced_of(1, ITEMS, &large)).await;
        }
        for _ in 0..2 {
            assert_eq!(item(&mut stream).await.as_ref(), Some(&large));
        }
        let credit = vec![0, 2, 0, 0];
        assert_eq!(hear(&mut peer).await, Sent::Notice(1, CREDIT, credit));
    }
    // A server that sends more than it may is not kept.
    let other = call(&channel, "2");
    assert_eq!(hear(&mut peer).await, request(2, "2"));
    for _ in 0..6 {
        drop(peer.try_send(announced_of(1, ITEMS, &large)).await);
    }
    assert_eq!(other.error().await.kind(), ErrorKind::Broken);
}

#[tokio::test(start_paused = true)]
async fn each_item_has_the_reply_timeout_while_it_is_waited_for() {
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(8));
    let (channel, mut peer) = channel_with(&options);
    let mut stream = patiently(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    for text in ["a", "b", "c"] {
        sleep(Duration::from_secs(7)).await;
        peer.send(announced_of(1, ITEMS, text)).await;
        assert_eq!(item(&mut stream).await.as_deref(), Some(text));
    }
    peer.send(announced_of(1, ITEMS, "d")).await;
    settle().await;
    // It is not taken, so the server may wait for that.
    sleep(Duration::from_secs(100)).await;
    assert_eq!(item(&mut stream).await.as_deref(), Some("d"));
    let other = call(&channel, "2");
    let server = async {
        assert_eq!(hear(&mut peer).await, request(2, "2"));
        sleep(Duration::from_secs(7)).await;
        peer.send(message_of(2, "two")).await;
        assert_eq!(hear(&mut peer).await, cancel(1));
    };
    let (late, ()) = tokio::join!(patiently(stream.next()), server);
    assert_eq!(late.expect_err("nothing came").kind(), ErrorKind::TimedOut);
    assert_eq!(other.reply().await, "two");
}

#[tokio::test(start_paused = true)]
async fn time_of_the_first_item_begins_when_it_is_waited_for() {
    let options = ConnectOptions::new().reply_timeout(8 * SECOND);
    let (channel, mut peer) = channel_with(&options);
    let mut stream = patiently(channel.stream::<Owned>("1")).await.expect("room");
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    sleep(100 * SECOND).await;
    let server = async {
        sleep(7 * SECOND).await;
        peer.send(announced_of(1, ITEMS, "a")).await;
    };
    let (first, ()) = tokio::join!(item(&mut stream), server);
    assert_eq!(first.as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_a_stream_though_items_are_there() {
    let (channel, mut peer) = channel();
    let limited = channel.deadline(Duration::from_secs(1));
    let mut stream = patiently(limited.stream::<Owned>("1")).await.expect("room");
    assert!(matches!(
        hear(&mut peer).await,
        Sent::Notice(1, DEADLINE, _)
    ));
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    peer.send(announced_of(1, ITEMS, "a").repeat(9)).await;
    settle().await;
    for _ in 0..3 {
        assert_eq!(item(&mut stream).await.as_deref(), Some("a"));
    }
    sleep(Duration::from_secs(2)).await;
    let late = within(stream.next()).await.expect_err("it is late");
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert_eq!(item(&mut stream).await, None);
    assert_eq!(hear(&mut peer).await, cancel(1));
}

#[tokio::test]
async fn owned_items_of_a_channel_are_a_stream() {
    let (channel, mut peer) = channel();
    let stream = within(channel.stream::<Owned>("1")).await.expect("room");
    let mut stream = stream.owned::<String>();
    assert_eq!(hear(&mut peer).await, request(1, "1"));
    let frames = [announced_of(1, ITEMS, "a"), message_of(1, "end")];
    peer.send(frames.concat()).await;
    let mut items = Vec::new();
    while let Some(item) = within(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx))).await {
        items.push(item.expect("an item"));
    }
    assert_eq!(items, ["a"]);
    let reply = within(stream.into_inner().finish()).await;
    assert_eq!(reply.expect("a reply"), "end");
}
