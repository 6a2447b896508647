//! Replies that are none, and requests that cannot be sent, are errors that say why.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tcs::{
    Connection, ErrorKind, Execution, Rejection, RejectionKind,
    client::ConnectOptions,
    format::{Encode, EncodeError, Plain, Writer},
    framing::{Framing, LengthPrefixed, Lines, Raw, UntilEof},
    protocol::Contract,
};
use tcs_tests::{
    RawPeer,
    channel::Owned,
    client::{Prefixed, Text, chain, hears},
    control, frame,
    raw_server::RawServer,
    within,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

#[tokio::test]
async fn server_that_closes_before_its_reply_is_an_error() {
    for sent in [frame(b""), vec![0, 0], b"\0\0\0\x05ab".to_vec()] {
        let partial = sent.len() != 4;
        let (addr, server) = RawServer::once(move |mut peer| async move {
            hears(&mut peer, "x").await;
            if partial {
                within(peer.send(sent)).await;
            }
        })
        .await;
        let mut connection = within(Connection::connect(addr)).await.expect("it listens");
        let error = within(connection.call::<Prefixed>("x"))
            .await
            .expect_err("closed");
        assert_eq!(error.execution(), Execution::Unknown);
        if partial {
            assert_eq!(error.kind(), ErrorKind::Reply);
            assert_eq!(
                chain(&error),
                [
                    format!("cannot read what {addr} sent"),
                    "the connection ended in the middle of a frame".to_owned()
                ]
            );
        } else {
            assert_eq!(error.kind(), ErrorKind::Closed);
            assert_eq!(
                error.to_string(),
                format!("{addr} closed the connection before it replied")
            );
        }
        within(server)
            .await
            .expect("the server saw what it expects");
    }
}

#[tokio::test]
async fn reset_is_an_error_of_the_operating_system() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "x").await;
        peer.reset();
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Prefixed>("x"))
        .await
        .expect_err("reset");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Io, Execution::Unknown)
    );
    assert_eq!(error.peer_addr(), Some(addr));
    within(server)
        .await
        .expect("the server saw what it expects");
}

/// Its end was sent, although it has no bytes.
#[tokio::test]
async fn empty_request_is_not_taken_for_unsent() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        assert!(within(peer.rest()).await.is_empty());
        peer.reset();
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Text<UntilEof>>("")).await;
    let error = error.expect_err("reset");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Io, Execution::Unknown)
    );
    within(server)
        .await
        .expect("the server saw what it expects");
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
            frame(&[b'x'; 101]),
            "cannot read what",
            "a message of 101 bytes exceeds `max_frame_len` of 100 bytes".to_owned(),
        ),
        (
            1_000_u32.to_be_bytes().to_vec(),
            "cannot read what",
            "a message of 1000 bytes exceeds `max_frame_len` of 100 bytes".to_owned(),
        ),
    ];
    for (bytes, message, cause) in replies {
        let (addr, server) = RawServer::once(|mut peer| async move {
            hears(&mut peer, "x").await;
            within(peer.send(bytes)).await;
            peer
        })
        .await;
        let options = ConnectOptions::new().max_frame_len(100);
        let mut connection = within(options.connect(addr)).await.expect("it listens");
        let error = within(connection.call::<Prefixed>("x"))
            .await
            .expect_err("no reply");
        assert_eq!(
            (error.kind(), error.execution()),
            (ErrorKind::Reply, Execution::Unknown)
        );
        let chain = chain(&error);
        assert!(chain[0].contains(message), "{chain:?}");
        assert_eq!(chain[1..], [cause]);
        drop(
            within(server)
                .await
                .expect("the server saw what it expects"),
        );
    }
}

#[tokio::test]
async fn reply_that_does_not_decode_leaves_the_connection_usable() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "x").await;
        within(peer.send(frame(b"\xff"))).await;
        hears(&mut peer, "y").await;
        within(peer.send(frame(b"fine"))).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    within(connection.call::<Prefixed>("x"))
        .await
        .expect_err("no text");
    assert_eq!(
        within(connection.call::<Prefixed>("y"))
            .await
            .expect("a reply"),
        "fine"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
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
    let (addr, server) = RawServer::once(|mut peer| async move {
        assert_eq!(within(peer.receive(5)).await, b"good\n");
        within(peer.send("good\n")).await;
    })
    .await;
    let options = ConnectOptions::new().max_frame_len(10);
    let mut connection = within(options.connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Never>(None))
        .await
        .expect_err("no form");
    assert_eq!(
        chain(&error),
        ["cannot encode the request", "there is no such request"]
    );
    let error = within(connection.call::<Text<Lines>>("two\nlines"))
        .await
        .expect_err("two");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Request, Execution::NotSent)
    );
    let error = within(connection.call::<Text<Lines>>("01234567890"))
        .await
        .expect_err("long");
    assert_eq!(
        chain(&error),
        [
            "cannot send the request",
            "a message of 11 bytes exceeds `max_frame_len` of 10 bytes"
        ]
    );
    assert_eq!(
        within(connection.call::<Text<Lines>>("good"))
            .await
            .expect("a reply"),
        "good"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

/// Asks a server that has closed in memory, and said `greeting` before.
async fn ask_closed<F: Framing>(greeting: &[u8], request: &str) -> tcs::Result<String> {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    within(peer.send(greeting)).await;
    drop(peer);
    let mut connection = Connection::<F, _>::over(near);
    let reply = within(connection.call::<Text<F>>(request)).await;
    reply.map(str::to_owned)
}

#[tokio::test]
async fn server_that_closed_before_one_exchange_has_sent_no_reply() {
    let asked = [
        ask_closed::<Raw>(b"", "x").await,
        ask_closed::<UntilEof>(b"", "x").await,
    ];
    for error in asked.map(|reply| reply.expect_err("nothing was sent")) {
        let told = (error.kind(), error.execution());
        assert_eq!(told, (ErrorKind::Closed, Execution::NotSent), "{error}");
    }
    let greeted = ask_closed::<UntilEof>(b"hello", "x").await;
    assert_eq!(greeted.expect("a greeting"), "hello");
}

#[test]
fn connection_goes_over_to_another_runtime() {
    let (near, far) = tokio::io::duplex(64);
    let mut peer = RawPeer::over(far);
    let mut connection = Connection::<LengthPrefixed, _>::over(near);
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

/// A stream whose first write fails. It has nothing to read, or is reset by then.
#[derive(Debug)]
struct Deaf {
    is_reset: bool,
    has_failed: bool,
}

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_reset && self.has_failed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Pending
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
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn failed_write_is_told_at_once_although_nothing_arrives() {
    let began = Instant::now();
    for is_reset in [false, true] {
        let deaf = || {
            let has_failed = false;
            Connection::<LengthPrefixed, _>::over(Deaf {
                is_reset,
                has_failed,
            })
        };
        let mut connection = deaf();
        let call = connection.call::<Prefixed>("x").await.map(drop);
        let mut connection = deaf();
        let mut pipeline = connection.pipeline::<Prefixed>();
        pipeline.send("x").await.expect("in flight");
        let pipelined = pipeline.receive().await.map(drop);
        let channel = deaf().into_channel().expect("a runtime");
        let shared = channel.call::<Owned>("x").await.map(drop);
        for error in [call, pipelined, shared].map(Result::unwrap_err) {
            let told = (error.kind(), error.execution());
            assert_eq!(told, (ErrorKind::Closed, Execution::NotSent), "{error}");
            let source = std::error::Error::source(&error).expect("the error of the stream");
            assert_eq!(source.to_string(), "connection aborted");
        }
    }
    assert_eq!(began.elapsed().as_nanos(), 0);
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
    let mut connection: Connection<LengthPrefixed, _> = Connection::over(stream);
    let reply = within(connection.call::<Prefixed>(&"x".repeat(100))).await;
    assert_eq!(reply.expect("a reply"), "early");
    let error = within(connection.call::<Prefixed>("later")).await;
    let error = error.expect_err("the server has ended the connection");
    let kind = error.rejection().map(Rejection::kind);
    assert_eq!(kind, Some(RejectionKind::GoingAway), "{error:?}");
}
