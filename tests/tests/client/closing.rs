//! A stream with an end of its own, such as TLS, can send it when the client closes the connection.

use std::{
    task::{Poll, ready},
    time::Duration,
};

use tcs::{Connection, client::ConnectOptions, framing::LengthPrefixed};
use tcs_tests::{
    RawPeer,
    channel::call,
    client::{Prefixed, hears},
    frame, with_shutdown, within,
};
use tokio::{io::AsyncWrite, time::Instant};

const LIMIT: Duration = Duration::from_secs(8);

/// A connection over a stream that sends `bye` when it is shut down, and its server's end. The stream may also never
/// get that far.
fn polite(is_stuck: bool) -> (Connection<LengthPrefixed>, RawPeer) {
    let (stream, far) = tokio::io::duplex(64);
    let options = ConnectOptions::new().reply_timeout(LIMIT);
    let connection = options.over(with_shutdown(stream, move |mut stream, cx| {
        if is_stuck {
            return Poll::Pending;
        }
        ready!(stream.as_mut().poll_write(cx, b"bye"))?;
        stream.poll_shutdown(cx)
    }));
    (connection.expect("valid options"), RawPeer::over(far))
}

/// Returns what the server receives until the end.
async fn rest(peer: &mut RawPeer) -> Vec<u8> {
    within(peer.receive_up_to(64)).await
}

#[tokio::test]
async fn channel_shuts_its_stream_down_after_the_last_reply() {
    let (connection, mut peer) = polite(false);
    let channel = connection.into_channel().expect("a runtime");
    let called = call(&channel, "x");
    hears(&mut peer, "x").await;
    drop(channel);
    within(peer.send(frame(b"y"))).await;
    assert_eq!(called.reply().await, "y");
    assert_eq!(rest(&mut peer).await, b"bye");
}

#[tokio::test]
async fn closed_connection_shuts_its_stream_down() {
    let (mut connection, mut peer) = polite(false);
    within(peer.send(frame(b"hello"))).await;
    let greeting = within(connection.receive::<&str, tcs::format::Plain>()).await;
    assert_eq!(greeting.expect("a greeting"), "hello");
    within(connection.close()).await;
    assert_eq!(rest(&mut peer).await, b"bye");
}

#[tokio::test]
async fn connection_that_has_failed_is_not_shut_down() {
    let (mut connection, mut peer) = polite(false);
    let mut pipeline = connection.pipeline::<Prefixed>();
    within(pipeline.send("x")).await.expect("in flight");
    assert!(within(pipeline.flush()).await);
    within(connection.close()).await;
    assert_eq!(rest(&mut peer).await, frame("x"));
}

#[tokio::test(start_paused = true)]
async fn stream_that_cannot_be_shut_down_is_dropped_in_the_end() {
    let began = Instant::now();
    let (connection, mut peer) = polite(true);
    within(connection.close()).await;
    assert_eq!(rest(&mut peer).await, b"");
    assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());

    let began = Instant::now();
    let (connection, mut peer) = polite(true);
    drop(connection.into_channel().expect("a runtime"));
    assert_eq!(rest(&mut peer).await, b"");
    // Nobody waits for it, except the next connection.
    assert_eq!(began.elapsed().as_secs(), 1);
}
