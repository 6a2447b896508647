//! Replies that are none, and requests that cannot be sent, are errors that say why.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tcs::{
    Connection, Error, ErrorKind, Execution, Rejection, RejectionKind,
    client::ConnectOptions,
    format::{Encode, EncodeError, Plain, Writer},
    framing::{Framing, LengthPrefixed, Lines, Raw, UntilEof},
    protocol::Contract,
};
use tcs_tests::{
    RawPeer,
    channel::Owned,
    client::{Prefixed, Text, chain, connect, connected, connected_with, hears, told},
    control, frame, memory,
    script::{closes, expects, expects_end, play, resets, sends, serve},
    with_shutdown, within,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

#[tokio::test]
async fn server_that_closes_before_its_reply_is_an_error() {
    let (addr, server) = serve([expects(frame("x")), closes()]).await;
    let mut connection = connect(addr).await;
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("closed");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
    let text = format!("{addr} closed the connection before it replied");
    assert_eq!(error.to_string(), text);
    server.finished().await;

    for half in [&[0, 0][..], b"\0\0\0\x05ab"] {
        let (addr, server) = serve([expects(frame("x")), sends(half), closes()]).await;
        let mut connection = connect(addr).await;
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("half a reply");
        assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
        assert_eq!(
            chain(&error),
            [
                format!("{addr} closed the connection before it replied"),
                "the connection ended in the middle of a frame".to_owned()
            ]
        );
        server.finished().await;
    }
}

#[tokio::test]
async fn reset_is_an_error_of_the_operating_system() {
    let (addr, server) = serve([expects(frame("x")), resets()]).await;
    let mut connection = connect(addr).await;
    let error = within(connection.call::<Prefixed>("x")).await;
    let error = error.expect_err("reset");
    assert_eq!(told(&error), (ErrorKind::Io, Execution::Unknown));
    assert_eq!(error.peer_addr(), Some(addr));
    server.finished().await;
}

#[tokio::test(start_paused = true)]
async fn call_whose_request_the_server_does_not_read_says_so() {
    let (near, _far) = tokio::io::duplex(64);
    let options = ConnectOptions::new().reply_timeout(Duration::from_secs(3));
    let mut connection = options.over::<LengthPrefixed>(near).expect("fine");
    let large = "x".repeat(100);
    let error = within(connection.call::<Prefixed>(&large)).await;
    let error = error.expect_err("it is not sent");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::Unknown));
    assert_eq!(
        error.to_string(),
        "cannot send to unnamed peer within 3s (`reply_timeout`): it does not read"
    );
}

/// Its end was sent, although it has no bytes.
#[tokio::test]
async fn empty_request_is_not_taken_for_unsent() {
    let (mut connection, server) = connected([expects_end(), resets()]).await;
    let error = within(connection.call::<Text<UntilEof>>("")).await;
    let error = error.expect_err("reset");
    assert_eq!(told(&error), (ErrorKind::Io, Execution::Unknown));
    server.finished().await;
}

#[tokio::test]
async fn request_ends_with_a_shutdown_that_takes_a_while() {
    let (stream, far) = tokio::io::duplex(64);
    let steps = [expects("x"), expects_end(), sends("y"), closes()];
    let server = play(RawPeer::over(far), steps);
    let mut left = 2;
    let mut connection = Connection::over(with_shutdown(stream, move |stream, cx| {
        if left > 0 {
            left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        stream.poll_shutdown(cx)
    }));
    let reply = within(connection.call::<Text<UntilEof>>("x")).await;
    assert_eq!(reply.expect("a reply"), "y");
    server.finished().await;
}

#[tokio::test]
async fn reply_that_is_none_says_why() {
    let replies: [(Vec<u8>, &str, String); 4] = [
        (
            frame(b"a\xff"),
            "cannot read the reply of",
            "the text is not UTF-8 after byte 1".to_owned(),
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            "cannot read what",
            "the server sent text (`HTTP`) where a length is expected: it does not speak \
             length-prefixed frames; that looks like HTTP"
                .to_owned(),
        ),
        (
            frame([b'x'; 101]),
            "cannot read what",
            "a message of 101 bytes exceeds `max_reply_len` of 100 bytes".to_owned(),
        ),
        (
            1_000_u32.to_be_bytes().to_vec(),
            "cannot read what",
            "a message of 1000 bytes exceeds `max_reply_len` of 100 bytes".to_owned(),
        ),
    ];
    for (bytes, message, cause) in replies {
        let options = ConnectOptions::new().max_reply_len(100).max_frame_len(10);
        let steps = [expects(frame("x")), sends(bytes)];
        let (mut connection, server) = connected_with(&options, steps).await;
        let error = within(connection.call::<Prefixed>("x")).await;
        let error = error.expect_err("no reply");
        assert_eq!(told(&error), (ErrorKind::Reply, Execution::Unknown));
        let chain = chain(&error);
        assert!(chain[0].contains(message), "{chain:?}");
        assert_eq!(chain[1..], [cause]);
        server.finished().await;
    }
}

#[tokio::test]
async fn reply_that_does_not_decode_leaves_the_connection_usable() {
    let (mut connection, server) = connected([
        expects(frame("x")),
        sends(frame(b"\xff")),
        expects(frame("y")),
        sends(frame("fine")),
    ])
    .await;
    let reply = within(connection.call::<Prefixed>("x")).await;
    reply.expect_err("no text");
    let reply = within(connection.call::<Prefixed>("y")).await;
    assert_eq!(reply.expect("a reply"), "fine");
    server.finished().await;
}

#[tokio::test]
async fn request_that_cannot_be_sent_is_not_and_the_connection_goes_on() {
    struct None;
    impl Encode<Plain> for None {
        fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
            Err(EncodeError::new("there is no such request"))
        }
    }
    enum Never {}
    impl Contract for Never {
        type Framing = Lines;
        type Format = Plain;
        type Request<'a> = None;
        type Reply<'a> = &'a str;
    }
    let options = ConnectOptions::new().max_frame_len(10);
    let steps = [expects("good\n"), sends("fine\n")];
    let (mut connection, server) = connected_with(&options, steps).await;
    let error = within(connection.call::<Never>(None)).await;
    assert_eq!(
        chain(&error.expect_err("no form")),
        ["cannot encode the request", "there is no such request"]
    );
    let error = within(connection.call::<Text<Lines>>("two\nlines")).await;
    let error = error.expect_err("two");
    assert_eq!(told(&error), (ErrorKind::Request, Execution::NotSent));
    let error = within(connection.call::<Text<Lines>>("01234567890")).await;
    assert_eq!(
        chain(&error.expect_err("long")),
        [
            "cannot send the request",
            "a message of 11 bytes exceeds `max_frame_len` of 10 bytes"
        ]
    );
    let reply = within(connection.call::<Text<Lines>>("good")).await;
    assert_eq!(reply.expect("a reply"), "fine");
    server.finished().await;
}

/// Asks a server that has closed in memory, and said `greeting` before.
async fn ask_closed<F: Framing>(greeting: &[u8], request: &str) -> tcs::Result<String> {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    within(peer.send(greeting)).await;
    drop(peer);
    let mut connection = Connection::<F>::over(near);
    let reply = within(connection.call::<Text<F>>(request)).await;
    reply.map(str::to_owned)
}

#[tokio::test]
async fn server_that_closed_before_one_exchange_has_sent_no_reply() {
    let asked = [
        ask_closed::<Raw>(b"", "x").await,
        ask_closed::<UntilEof>(b"", "x").await,
        ask_closed::<UntilEof>(b"", "").await,
    ];
    for error in asked.map(|reply| reply.expect_err("nothing was sent")) {
        let expected = (ErrorKind::Closed, Execution::NotSent);
        assert_eq!(told(&error), expected, "{error}");
    }
    let greeted = ask_closed::<UntilEof>(b"hello", "x").await;
    assert_eq!(greeted.expect("a greeting"), "hello");
}

#[tokio::test]
async fn server_that_closes_before_all_of_one_request_is_sent_has_sent_no_reply() {
    // The end of the request is never sent, though all its bytes are.
    for request in ["", "x"] {
        let (stream, far) = tokio::io::duplex(64);
        let mut connection = Connection::over(with_shutdown(stream, |_, _| Poll::Pending));
        let server = async {
            let mut peer = RawPeer::over(far);
            assert_eq!(peer.receive(request.len()).await, request.as_bytes());
        };
        let call = connection.call::<Text<UntilEof>>(request);
        let (reply, ()) = within(async { tokio::join!(call, server) }).await;
        let error = reply.expect_err("the request has no end");
        assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
    }
    let (stream, far) = tokio::io::duplex(64);
    let mut connection = Connection::over(stream);
    let request = "x".repeat(100);
    let call = connection.call::<Text<Raw>>(&request);
    let server = async { RawPeer::over(far).receive(1).await };
    let (reply, _) = within(async { tokio::join!(call, server) }).await;
    let error = reply.expect_err("the request is not all sent");
    assert_eq!(told(&error), (ErrorKind::Closed, Execution::Unknown));
}

#[test]
fn connection_goes_over_to_another_runtime() {
    let (mut connection, mut peer) = memory::connection::<LengthPrefixed>(64);
    for _ in 0..2 {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let reply = runtime.block_on(async {
            let server = async {
                hears(&mut peer, "x").await;
                within(peer.send(frame(b"y"))).await;
            };
            let call = connection.call::<Prefixed>("x");
            tokio::join!(call, server).0.map(str::to_owned)
        });
        assert_eq!(reply.expect("a reply"), "y");
    }
}

/// A stream whose first write fails.
#[derive(Debug)]
struct Deaf {
    kind: io::ErrorKind,
    after: After,
    has_failed: bool,
}

/// What there is to read after the write that failed.
#[derive(Clone, Debug)]
enum After {
    Nothing,
    Reset,
    /// These bytes, once it was asked for them this often.
    Bytes(Vec<u8>, u32),
}

impl Deaf {
    fn connection(kind: io::ErrorKind, after: &After) -> Connection<LengthPrefixed> {
        Connection::over(Self {
            kind,
            after: after.clone(),
            has_failed: false,
        })
    }
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_failed {
            return Poll::Pending;
        }
        match &mut self.after {
            After::Nothing => Poll::Pending,
            After::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            After::Bytes(bytes, 0) => {
                buffer.put_slice(bytes);
                bytes.clear();
                Poll::Ready(Ok(()))
            }
            After::Bytes(_, looks) => {
                *looks -= 1;
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.has_failed, "it writes after an error");
        self.has_failed = true;
        Poll::Ready(Err(self.kind.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns the errors of a call, a request of a pipeline, and a call of a channel, each over a stream of its own.
async fn errors_of_calls(kind: io::ErrorKind, after: &After) -> [Error; 3] {
    let deaf = || Deaf::connection(kind, after);
    let mut connection = deaf();
    let call = connection.call::<Prefixed>("x").await.map(drop);
    let mut connection = deaf();
    let mut pipeline = connection.pipeline::<Prefixed>();
    pipeline.send("x").await.expect("in flight");
    let pipelined = pipeline.receive().await.map(drop);
    let channel = deaf().into_channel().expect("a runtime");
    let shared = channel.call::<Owned>("x").await.map(drop);
    [call, pipelined, shared].map(Result::unwrap_err)
}

#[tokio::test(start_paused = true)]
async fn failed_write_is_told_at_once_although_nothing_arrives() {
    let began = Instant::now();
    for (failed, expected) in [
        (io::ErrorKind::Other, ErrorKind::Io),
        (io::ErrorKind::WriteZero, ErrorKind::Io),
        (io::ErrorKind::ConnectionReset, ErrorKind::Closed),
        (io::ErrorKind::BrokenPipe, ErrorKind::Closed),
    ] {
        for after in [After::Nothing, After::Reset] {
            for error in errors_of_calls(failed, &after).await {
                assert_eq!(told(&error), (expected, Execution::NotSent), "{error}");
                let source = std::error::Error::source(&error).expect("the error of the stream");
                assert_eq!(source.to_string(), failed.to_string());
            }
        }
    }
    assert_eq!(began.elapsed().as_nanos(), 0);
}

/// Another thread of the runtime may not have reported yet that it has arrived.
#[tokio::test(start_paused = true)]
async fn rejection_that_is_seen_only_after_some_looks_is_heard_after_a_failed_write() {
    let after = After::Bytes(control(0x43, "too large"), 20);
    for error in errors_of_calls(io::ErrorKind::BrokenPipe, &after).await {
        let rejected = (ErrorKind::Rejected, Execution::NotExecuted);
        assert_eq!(told(&error), rejected, "{error}");
    }
}

/// The reading half of a stream: what each read returns. `None` is a pause.
struct Reads(VecDeque<Option<io::Result<Vec<u8>>>>);

impl AsyncRead for Reads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(Some(read)) => Poll::Ready(read.map(|bytes| buffer.put_slice(&bytes))),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn rejection_that_arrived_before_a_reset_is_told_although_a_request_is_not_all_sent() {
    let reads = [
        None,
        Some(Ok(frame(b"early"))),
        Some(Ok(control(0x40, "stopping"))),
        Some(Err(io::ErrorKind::ConnectionReset.into())),
    ];
    let (near, _far) = tokio::io::duplex(64);
    let stream = tokio::io::join(Reads(reads.into()), near);
    let mut connection: Connection<LengthPrefixed> = Connection::over(stream);
    let reply = within(connection.call::<Prefixed>(&"x".repeat(100))).await;
    assert_eq!(reply.expect("a reply"), "early");
    let error = within(connection.call::<Prefixed>("later")).await;
    let error = error.expect_err("the server has ended the connection");
    let kind = error.rejection().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::GoingAway), "{error:?}");
}
