//! Servers that never stop: their clients give up in time, and leave other tasks their turn.

use std::{future::poll_fn, pin::pin, sync::atomic::Ordering, task::Poll, time::Duration};

use tcs::{
    Connection, ErrorKind,
    client::ConnectOptions,
    framing::{Framing, LengthPrefixed, Multiplexed},
};
use tcs_tests::{
    Endless,
    client::{Prefixed, Text, items},
    control, frame,
    ids::{
        announced_of,
        kind::{ITEMS, PARTS},
    },
    within,
};
use tokio::time::Instant;

const LIMIT: Duration = Duration::from_millis(250);

/// Four billion announced messages, and the first of them.
fn announced(kind: u8) -> Vec<u8> {
    [
        &[0x80, 0, 0, 5, kind, 0xff, 0xff, 0xff, 0xff][..],
        &frame(""),
    ]
    .concat()
}

fn connection(endless: Endless) -> Connection<LengthPrefixed> {
    let options = ConnectOptions::new().reply_timeout(LIMIT);
    options.over(endless).expect("good options")
}

/// Calls until the connection is closed, which must be in time.
async fn gives_up(mut connection: Connection<LengthPrefixed>) {
    let began = Instant::now();
    let error = loop {
        if let Err(error) = within(connection.call::<Prefixed>("go")).await {
            // Of the items, in which its reply is lost.
            if error.kind() != ErrorKind::Reply {
                break error;
            }
        }
    };
    let took = began.elapsed();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error} after {took:?}");
    // Less than the stream lasts, on a busy machine as well.
    assert!(took < 16 * LIMIT, "{took:?}");
}

#[tokio::test]
async fn notices_without_end_are_no_reply() {
    for notices in [control(0x80, ""), announced(0x83), control(0xff, "new")] {
        gives_up(connection(Endless::new(Vec::new(), notices))).await;
    }
}

#[tokio::test]
async fn items_without_end_of_a_stream_that_was_left_are_no_reply() {
    let mut connection = connection(Endless::after_a_write(announced(0x81)));
    let mut stream = within(connection.stream::<Prefixed>("go"))
        .await
        .expect("it is sent");
    for _ in 0..10_000 {
        assert_eq!(within(stream.next()).await.expect("an item"), Some(""));
    }
    drop(stream);
    gives_up(connection).await;
}

#[tokio::test]
async fn items_without_end_are_no_reply_of_an_ordinary_call() {
    gives_up(connection(Endless::after_a_write(announced(0x81)))).await;
}

/// Polls a call once, which waits, and drops it.
async fn call_waits<F: Framing>(connection: &mut Connection<F>) {
    let mut call = pin!(connection.call::<Text<F>>("go"));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Fails if a call reads much of what it skips within one poll.
async fn leaves_others_their_turn<F: Framing>(late: Vec<u8>) {
    let endless = Endless::after_a_write(late);
    let read = endless.read_bytes();
    let mut connection: Connection<F> = Connection::over(endless);
    call_waits(&mut connection).await;
    assert_eq!(read.load(Ordering::Relaxed), 0);
    call_waits(&mut connection).await;
    // A megabyte before its request, another one after it, and what lies in the buffer.
    let read = read.load(Ordering::Relaxed);
    assert!((1..4 << 20).contains(&read), "{read}");
}

#[tokio::test]
async fn large_messages_that_are_skipped_leave_others_their_turn() {
    let large = "x".repeat(1 << 20);
    leaves_others_their_turn::<LengthPrefixed>(items(&[&large])).await;
    leaves_others_their_turn::<Multiplexed>(announced_of(1, ITEMS, &large)).await;
    leaves_others_their_turn::<Multiplexed>(announced_of(1, PARTS, &large)).await;
}

#[tokio::test]
async fn items_that_are_skipped_leave_others_their_turn() {
    for item in [String::new(), "x".repeat(1 << 20)] {
        let endless = Endless::after_a_write(items(&[&item]));
        let read = endless.read_bytes();
        let mut connection = connection(endless);
        let stream = within(connection.stream::<Prefixed>("go")).await;
        let mut stream = stream.expect("it is sent");
        poll_fn(|cx| {
            assert!(pin!(stream.skip_rest()).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let read = read.load(Ordering::Relaxed);
        assert!((1..4 << 20).contains(&read), "{read}");
    }
}

#[tokio::test]
async fn pings_without_end_are_no_reply_of_a_channel() {
    let options = ConnectOptions::new().reply_timeout(LIMIT);
    let endless = Endless::after_a_write(control(0x80, ""));
    let connection = options.over::<LengthPrefixed>(endless);
    let channel = connection.expect("good options").into_channel();
    let channel = channel.expect("a runtime");
    let began = Instant::now();
    let reply = within(channel.call_with::<Text<_>, _>("go", str::len)).await;
    assert_eq!(reply.expect_err("no reply").kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() < 16 * LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn empty_parts_without_end_are_no_reply() {
    let options = ConnectOptions::new().reply_timeout(LIMIT);
    let endless = Endless::after_a_write(announced_of(1, PARTS, ""));
    let mut connection = options.over::<Multiplexed>(endless).expect("good options");
    let began = Instant::now();
    let reply = within(connection.call::<Text<_>>("go")).await;
    assert_eq!(reply.expect_err("no reply").kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() < 16 * LIMIT, "{:?}", began.elapsed());
}
