//! A reply never reaches another caller.

use std::time::Duration;

use tcs::{ConnectOptions, Connection, ErrorKind, Execution, Raw};
use tcs_tests::{
    Heard,
    client::{Prefixed, ask, hears},
    raw_server::RawServer,
    within,
};

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
