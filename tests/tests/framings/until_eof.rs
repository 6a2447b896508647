//! A message until the end of the connection: the end of a half is the end of the message.

use tcs::{
    ConcurrentServer, ErrorKind,
    framing::{Delimited, UntilEof, delimiter},
};
use tcs_tests::{
    client::{ask, connected},
    gate,
    process::{Process, is_missing},
    script::{closes, expects, expects_end, receives, sends},
    start, tester, within,
};

#[tokio::test]
async fn nc_speaks_until_the_end() {
    if is_missing("nc") {
        return;
    }
    let server = start(ConcurrentServer::new(tester::<UntilEof>(&gate()))).await;
    let command = format!(
        "printf 'one\\ntwo\\n' | nc -N 127.0.0.1 {}",
        server.addr().port()
    );
    let printed = Process::start("sh", ["-c", &command]).finished().await;
    assert_eq!(printed.stdout, ["one", "two"]);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn request_until_the_end_needs_the_end_and_a_byte() {
    let server = start(ConcurrentServer::new(tester::<UntilEof>(&gate()))).await;
    let mut peer = server.peer().await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"");
    let mut peer = server.peer().await;
    for piece in ["in ", "pieces, ", "\nof two lines"] {
        within(peer.send(piece)).await;
    }
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"in pieces, \nof two lines");
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (1, 1));
}

#[tokio::test]
async fn client_ends_its_request_by_closing_its_half() {
    let (mut connection, server) = connected([
        expects("a question"),
        expects_end(),
        sends("an "),
        sends("answer"),
        closes(),
    ])
    .await;
    let reply = within(connection.exchange(ask::<UntilEof>("a question"))).await;
    assert_eq!(reply.expect("a reply"), "an answer");
    server.finished().await;
    let error = within(connection.exchange(ask("another"))).await;
    assert_eq!(error.expect_err("it had its one").kind(), ErrorKind::Broken);
}

/// A request that is more than the buffers of the connection is sent to its end first.
#[tokio::test]
async fn client_closes_its_half_behind_a_large_request() {
    let large = "x".repeat(4 << 20);
    let (mut connection, server) = connected([
        receives(large.len()),
        expects_end(),
        sends("read"),
        closes(),
    ])
    .await;
    let reply = within(connection.exchange(ask::<UntilEof>(&large))).await;
    assert_eq!(reply.expect("a reply"), "read");
    server.finished().await;
}

#[tokio::test]
async fn other_framings_keep_their_half_open() {
    let (mut connection, server) =
        connected([expects("a;"), sends("b;"), expects("c;"), sends("d;")]).await;
    for (request, expected) in [("a", "b"), ("c", "d")] {
        let reply =
            within(connection.exchange(ask::<Delimited<{ delimiter(b";") }>>(request))).await;
        assert_eq!(reply.expect("a reply"), expected);
    }
    server.finished().await;
}
