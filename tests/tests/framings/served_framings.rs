//! Framings on connections: limits in both directions, the end of a connection, and what cannot be
//! said.

use tcs::{
    ConcurrentServer, Connection, ErrorKind,
    client::ConnectOptions,
    framing::{
        CrlfLines, Delimited, Fixed, Framing, INCLUDES_HEADER, LITTLE_ENDIAN, LengthPrefixed,
        Lines, Netstrings, Prefixed, UntilEof, delimiter,
    },
};
use tcs_tests::{
    client::{Text, ask},
    gate,
    naive::{self, Naive},
    process::{Process, is_missing},
    raw_server::RawServer,
    start, tester, within,
};

type Semicolons = Delimited<{ delimiter(b";") }>;
type DotLines = Delimited<{ delimiter(b"\r\n.\r\n") }>;

const LIMIT: usize = 64;

fn encoded(naive: Naive, length: usize) -> Vec<u8> {
    (naive.encode)(&vec![b'x'; length]).expect("it can be sent")
}

/// Sends a server a request; returns all that it says until it closes.
async fn says<F: Framing>(request: &[u8]) -> (Vec<u8>, tcs::server::Requests) {
    let server = ConcurrentServer::new(tester::<F>(&gate())).max_frame_len(LIMIT);
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send(request)).await;
    // A rejection may have been there first.
    within(peer.try_finish()).await.ok();
    let said = within(peer.rest()).await;
    (said, server.stopped().await.requests)
}

async fn server_keeps_its_limits<F: Framing>(naive: Naive) {
    for length in [LIMIT - 1, LIMIT] {
        let message = encoded(naive, length);
        let (said, requests) = says::<F>(&message).await;
        assert_eq!(said, message);
        assert_eq!(requests.served, 1);
    }
    let (_, requests) = says::<F>(&encoded(naive, LIMIT + 1)).await;
    assert_eq!((requests.received, requests.rejected), (1, 1));

    let size = |size: usize| (naive.encode)(format!("size {size}").as_bytes()).expect("text");
    let (said, _) = says::<F>(&size(LIMIT)).await;
    assert_eq!(said, encoded(naive, LIMIT));
    let (said, requests) = says::<F>(&size(LIMIT + 1)).await;
    assert!(!said.contains(&b'x') || said[0] == 0x80, "{said:?}");
    assert_eq!(requests.failed, 1);
}

async fn client_keeps_its_limits<F: Framing>(naive: Naive) {
    for (length, fits) in [(LIMIT - 1, true), (LIMIT, true), (LIMIT + 1, false)] {
        let message = encoded(naive, length);
        let expected = encoded(naive, 5);
        let (addr, server) = RawServer::once(async move |mut peer| {
            assert_eq!(within(peer.receive(expected.len())).await, expected);
            within(peer.send(message)).await;
        })
        .await;
        let options = ConnectOptions::new().max_frame_len(LIMIT);
        let mut connection: Connection<F> = options.connect(addr).await.expect("it listens");
        let too_long = "x".repeat(LIMIT + 1);
        let unsent = within(connection.call::<Text<F>>(&too_long)).await;
        assert_eq!(unsent.expect_err("too long").kind(), ErrorKind::Request);
        match within(connection.call::<Text<F>>("xxxxx")).await {
            Ok(reply) => assert_eq!((reply.len(), fits), (length, true)),
            Err(error) => assert_eq!((error.kind(), fits), (ErrorKind::Reply, false)),
        }
        within(server).await.expect("the server saw the request");
    }
}

macro_rules! on {
    ($($name:ident: $framing:ty, $naive:ident;)*) => { $(
        #[tokio::test]
        async fn $name() {
            server_keeps_its_limits::<$framing>(naive::$naive).await;
            client_keeps_its_limits::<$framing>(naive::$naive).await;
        }
    )* };
}

on! {
    length_prefixed_keeps_its_limits: LengthPrefixed, LENGTH_PREFIXED;
    lines_keeps_its_limits: Lines, LINES;
    crlf_lines_keeps_its_limits: CrlfLines, CRLF_LINES;
    semicolons_keeps_its_limits: Semicolons, SEMICOLONS;
    dot_lines_keeps_its_limits: DotLines, DOT_LINES;
    netstrings_keeps_its_limits: Netstrings, NETSTRINGS;
    prefixed_u8_keeps_its_limits: Prefixed<1>, PREFIXED_U8;
    prefixed_u16_little_keeps_its_limits: Prefixed<2, LITTLE_ENDIAN>, PREFIXED_U16_LITTLE;
    prefixed_u32_keeps_its_limits: Prefixed<4>, PREFIXED_U32;
    prefixed_whole_keeps_its_limits: Prefixed<4, { LITTLE_ENDIAN | INCLUDES_HEADER }>, PREFIXED_U32_LITTLE_WHOLE;
    until_eof_keeps_its_limits: UntilEof, UNTIL_EOF;
}

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
    const { assert!(!UntilEof::PERSISTENT) };
    let (addr, server) = RawServer::once(async move |mut peer| {
        let request = within(peer.rest()).await;
        assert_eq!(request, b"a question");
        within(peer.send("an ")).await;
        within(peer.send("answer")).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let reply = within(connection.exchange(ask::<UntilEof>("a question"))).await;
    assert_eq!(reply.expect("a reply"), "an answer");
    within(server).await.expect("the server saw its request");
    let error = within(connection.exchange(ask("another"))).await;
    assert_eq!(error.expect_err("it had its one").kind(), ErrorKind::Broken);
}

/// A request that is more than the buffers of the connection is sent to its end first.
#[tokio::test]
async fn client_closes_its_half_behind_a_large_request() {
    let large = "x".repeat(4 << 20);
    let expected = large.len();
    let (addr, server) = RawServer::once(async move |mut peer| {
        assert_eq!(within(peer.rest()).await.len(), expected);
        within(peer.send("read")).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let reply = within(connection.exchange(ask::<UntilEof>(&large))).await;
    assert_eq!(reply.expect("a reply"), "read");
    within(server).await.expect("the server saw its request");
}

#[tokio::test]
async fn other_framings_keep_their_half_open() {
    let (addr, server) = RawServer::once(async move |mut peer| {
        assert_eq!(within(peer.receive(2)).await, b"a;");
        within(peer.send("b;")).await;
        assert_eq!(within(peer.receive(2)).await, b"c;");
        within(peer.send("d;")).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    for (request, expected) in [("a", "b"), ("c", "d")] {
        let reply = within(connection.exchange(ask::<Semicolons>(request))).await;
        assert_eq!(reply.expect("a reply"), expected);
    }
    within(server).await.expect("the server saw its requests");
}

#[tokio::test]
async fn size_of_messages_beyond_the_limit_is_an_error_of_the_setting() {
    let server = ConcurrentServer::new(tester::<Fixed<8>>(&gate())).port(0);
    let error = server.max_frame_len(7).bind().await.expect_err("too few");
    assert_eq!(error.kind(), ErrorKind::Setting);
    let text = "is 7 bytes, and a message of this framing has 8";
    assert!(error.to_string().ends_with(text), "{error}");
    let options = ConnectOptions::new().max_frame_len(7);
    let connected: tcs::Result<Connection<Fixed<8>>> = options.connect("localhost:1").await;
    assert!(connected.is_err_and(|error| error.kind() == ErrorKind::Setting));

    let server = ConcurrentServer::new(tester::<Fixed<8>>(&gate())).max_frame_len(8);
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send("abcdefgh12345678")).await;
    assert_eq!(within(peer.receive(16)).await, b"abcdefgh12345678");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// A reply that cannot be said is a failure, and what was said before it arrives.
#[tokio::test]
async fn reply_that_cannot_be_framed_ends_the_connection() {
    let server = start(ConcurrentServer::new(tester::<Semicolons>(&gate()))).await;
    let mut peer = server.peer().await;
    within(peer.send("before;error a;b;")).await;
    assert_eq!(within(peer.receive(9)).await, b"before;a;");
    drop(peer);
    server.stopped().await;

    let server = start(ConcurrentServer::new(tester::<Fixed<7>>(&gate()))).await;
    let mut peer = server.peer().await;
    within(peer.send("1234567size 06")).await;
    assert_eq!(within(peer.rest()).await, b"1234567");
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
}
