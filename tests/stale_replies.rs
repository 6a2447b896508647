//! A reply never reaches another caller.

use std::time::Duration;

use tcs::{ConnectOptions, Connection, ErrorKind, Execution, LengthPrefixed, Raw};
use tcs_tests::{
    Heard, RawPeer,
    channel::{self, Owned},
    client::{Prefixed, ask, hears},
    control, frame,
    raw_server::RawServer,
    within,
};
use tokio::{io::DuplexStream, task::JoinSet};

#[tokio::test]
async fn reply_timeout_closes_the_connection_and_says_so() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "first").await;
        // The end of the connection: the client has closed it.
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let limit = Duration::from_millis(30);
    let options = ConnectOptions::new().reply_timeout(limit);
    let mut connection = within(options.connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Prefixed>("first"))
        .await
        .expect_err("too late");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::TimedOut, Execution::Unknown)
    );
    assert_eq!(
        error.to_string(),
        format!("no reply from {addr} within 30ms (`reply_timeout`)")
    );
    let error = within(connection.call::<Prefixed>("second"))
        .await
        .expect_err("closed");
    assert_eq!(
        error.to_string(),
        format!("the connection to {addr} is closed: an earlier exchange timed out")
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn dropped_call_closes_the_connection_so_that_its_reply_reaches_nobody() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "first").await;
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    {
        let mut call = Box::pin(connection.call::<Prefixed>("first"));
        let once = std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        });
        once.await;
    }
    let error = within(connection.call::<Prefixed>("second"))
        .await
        .expect_err("closed");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Broken, Execution::NotSent)
    );
    assert_eq!(
        error.to_string(),
        format!(
            "the connection to {addr} is closed: an earlier exchange was not awaited to its end"
        )
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn second_exchange_over_raw_is_an_error_that_says_so() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.receive(3)).await;
        within(peer.send("once")).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    within(connection.exchange(ask::<Raw>("Ann")))
        .await
        .expect("a reply");
    let error = within(connection.exchange(ask("Bob")))
        .await
        .expect_err("a second");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Broken, Execution::NotSent)
    );
    assert_eq!(
        error.to_string(),
        format!(
            "the connection to {addr} is closed: its framing has one exchange per connection, and \
             that was done"
        )
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

/// A connection in memory, where what was sent has arrived, and its server's end.
fn memory() -> (Connection<LengthPrefixed, DuplexStream>, RawPeer) {
    let (near, far) = tokio::io::duplex(1 << 10);
    (Connection::over(near), RawPeer::over(far))
}

#[tokio::test]
async fn message_that_was_not_asked_for_is_no_reply() {
    let unasked = "the connection to unnamed peer is closed: the server said something that was \
                   not asked for";
    for stray in [frame(b"stray"), control(0x04, "stray")] {
        let (mut connection, mut server) = memory();
        within(server.send([control(0x80, "a notice"), stray].concat())).await;
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("a message was there before");
        assert_eq!(
            (error.kind(), error.execution(), error.to_string()),
            (ErrorKind::Broken, Execution::NotSent, unasked.to_owned())
        );
        assert_eq!(within(server.hear()).await, Heard::End);
    }

    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "first").await;
        within(peer.send([frame(b"reply"), frame(b"again")].concat())).await;
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let reply = within(connection.call::<Prefixed>("first")).await;
    assert_eq!(reply.expect("a reply"), "reply");
    let error = within(connection.call::<Prefixed>("second")).await;
    assert_eq!(error.expect_err("one too many").kind(), ErrorKind::Broken);
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn request_to_a_server_that_has_closed_is_not_sent() {
    let (mut connection, server) = memory();
    drop(server);
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("nobody is there");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Closed, Execution::NotSent)
    );
    assert_eq!(
        error.to_string(),
        "unnamed peer closed the connection before the request was sent"
    );
}

#[tokio::test]
async fn what_is_there_before_a_channel_asks_is_no_reply() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let mut peer = RawPeer::over(far);
    within(peer.send(frame(b"stray"))).await;
    let connection: Connection<LengthPrefixed, _> = Connection::over(near);
    // Its driver has not run when the request is there already.
    let channel = connection.into_channel().expect("it is open");
    let error = within(channel.call::<Owned>("one")).await;
    let error = error.expect_err("the reply is not its own");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Broken, Execution::NotSent)
    );
}

#[tokio::test]
async fn what_was_read_before_a_request_was_sent_is_no_reply_to_it() {
    const CALLERS: usize = 64;
    let (channel, mut peer) = channel::memory(1 << 20);
    let request = "x".repeat(64);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (channel, request) = (channel.clone(), request.clone());
        callers.spawn(async move {
            let first = channel.call::<Owned>(&request).await;
            (first, channel.call::<Owned>(&request).await)
        });
    }
    within(peer.receive(CALLERS * frame(request.as_bytes()).len())).await;
    // The first callers ask again before all of this is handed out.
    within(peer.send([frame(b"y").repeat(CALLERS), frame(b"stray")].concat())).await;
    while let Some(replies) = within(callers.join_next()).await {
        let (first, second) = replies.expect("no panic");
        assert_eq!(first.expect("a reply"), "y");
        let error = second.expect_err("the reply is not its own");
        assert_eq!(error.kind(), ErrorKind::Broken);
    }
}
