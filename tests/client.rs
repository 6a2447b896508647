//! What a client does with the bytes of a server, good and bad.

use std::time::Duration;

use tcs::{
    Client, ClientProtocol, ConnectOptions, Connection, Contract, Encode, EncodeError, Error,
    ErrorKind, Execution, Framing, LengthPrefixed, Lines, Peer, Plain, Raw, RefusalKind, Writer,
};
use tcs_tests::{Heard, RawPeer, control, frame, raw_server::RawServer, within};
use tokio::net::TcpListener;

/// Asks something and returns the reply.
struct Ask<F> {
    request: String,
    marker: std::marker::PhantomData<F>,
}

fn ask<F>(request: &str) -> Ask<F> {
    Ask {
        request: request.to_owned(),
        marker: std::marker::PhantomData,
    }
}

impl<F: Framing> ClientProtocol for Ask<F> {
    type Framing = F;
    type Format = Plain;
    type Reply<'a> = &'a str;
    type Output = String;

    fn prepare_request(&self) -> impl Encode<Plain> {
        &self.request
    }

    async fn process_reply(self, _peer: &Peer, reply: &str) -> String {
        reply.to_owned()
    }
}

/// Texts both ways.
enum Text<F> {
    #[expect(dead_code, reason = "a contract has no values")]
    Never(std::convert::Infallible, std::marker::PhantomData<F>),
}

impl<F: Framing> Contract for Text<F> {
    type Framing = F;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;
}

type Prefixed = Text<LengthPrefixed>;

/// Returns the messages of an error and its causes, each on its own level.
fn chain(error: &Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        messages.push(cause.to_string());
        source = cause.source();
    }
    messages
}

async fn hears(peer: &mut RawPeer, text: &str) {
    assert_eq!(within(peer.hear()).await, Heard::message(text));
}

#[tokio::test]
async fn client_connects_asks_and_closes() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "Ann").await;
        within(peer.send(frame(b"Hello, Ann!"))).await;
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let reply = within(
        Client::new(ask::<LengthPrefixed>("Ann"))
            .address(addr)
            .open(),
    )
    .await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!");
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn connection_is_kept_for_many_exchanges() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        for text in ["one", "two", "three"] {
            hears(&mut peer, text).await;
            within(peer.send(frame(text.as_bytes()))).await;
        }
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    assert_eq!(
        within(connection.call::<Prefixed>("one"))
            .await
            .expect("a reply"),
        "one"
    );
    assert_eq!(
        within(connection.exchange(ask("two")))
            .await
            .expect("a reply"),
        "two"
    );
    assert_eq!(
        within(connection.call::<Prefixed>("three"))
            .await
            .expect("a reply"),
        "three"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn reply_in_pieces_arrives_whole() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "slow").await;
        for byte in [control(0xee, "a notice"), frame("größer".as_bytes())].concat() {
            within(peer.send([byte])).await;
            tokio::task::yield_now().await;
        }
        peer
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    assert_eq!(
        within(connection.call::<Prefixed>("slow"))
            .await
            .expect("a reply"),
        "größer"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn lines_and_raw_are_spoken_as_well() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        assert_eq!(within(peer.receive(4)).await, b"Ann\n");
        within(peer.send("Hello\r\n")).await;
        peer
    })
    .await;
    let reply = within(Client::new(ask::<Lines>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello");
    within(server)
        .await
        .expect("the server saw what it expects");

    let (addr, server) = RawServer::once(|mut peer| async move {
        assert_eq!(within(peer.receive(3)).await, b"Ann");
        within(peer.send("Hello")).await;
        within(peer.send(", Ann!\n")).await;
    })
    .await;
    let reply = within(Client::new(ask::<Raw>("Ann")).address(addr).open()).await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!\n");
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

#[tokio::test]
async fn refusals_are_errors_that_tell_the_reason() {
    let kinds = [
        (0x01, RefusalKind::Error, Execution::Failed),
        (0x02, RefusalKind::BadRequest, Execution::Refused),
        (0x03, RefusalKind::TooLarge, Execution::Refused),
        (0x04, RefusalKind::Busy, Execution::Refused),
        (0x05, RefusalKind::TimedOut, Execution::Failed),
        (0x06, RefusalKind::Failed, Execution::Failed),
        (0x3e, RefusalKind::Unknown, Execution::Unknown),
    ];
    let (addr, server) = RawServer::once(move |mut peer| async move {
        for (code, ..) in kinds {
            hears(&mut peer, "x").await;
            within(peer.send(control(code, "a\n\u{1b}reason"))).await;
        }
        hears(&mut peer, "x").await;
        within(peer.send(frame(b"after all"))).await;
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    for (_, kind, execution) in kinds {
        let error = within(connection.call::<Prefixed>("x"))
            .await
            .expect_err("a refusal");
        assert_eq!(
            (error.kind(), error.execution()),
            (ErrorKind::Refused, execution)
        );
        let refusal = error.refusal().expect("it was refused");
        assert_eq!((refusal.kind(), refusal.text()), (kind, "a\n\u{1b}reason"));
        assert_eq!(
            chain(&error),
            [
                format!("{addr} refused the request"),
                format!("{kind}: a\\n\\u{{1b}}reason")
            ]
        );
    }
    // None of them is final.
    assert_eq!(
        within(connection.call::<Prefixed>("x"))
            .await
            .expect("a reply"),
        "after all"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn final_refusal_ends_the_connection_and_is_remembered() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send(control(0x41, "too quiet"))).await;
        peer
    })
    .await;
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
    let error = within(connection.call::<Prefixed>("x"))
        .await
        .expect_err("it has ended");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Refused, Execution::Refused)
    );
    let error = within(connection.call::<Prefixed>("x"))
        .await
        .expect_err("it has ended");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Broken, Execution::NotSent)
    );
    assert_eq!(
        chain(&error),
        [
            format!("{addr} ended the connection"),
            "idle: too quiet".to_owned()
        ]
    );
}

#[tokio::test]
async fn refusal_is_heard_although_the_request_is_not_all_sent() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.receive(4)).await;
        within(peer.send(control(0x43, "too large"))).await;
        peer
    })
    .await;
    let large = "x".repeat(8 << 20);
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Prefixed>(&large))
        .await
        .expect_err("a refusal");
    assert_eq!(
        error.refusal().expect("refused").kind(),
        RefusalKind::ProtocolError
    );
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
}

#[tokio::test]
async fn request_is_sent_whole_although_it_is_refused_early() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        let header = within(peer.receive(4)).await;
        within(peer.send(control(0x03, "too large"))).await;
        let length = u32::from_be_bytes(header.try_into().expect("four")) as usize;
        within(peer.receive(length)).await;
        hears(&mut peer, "next").await;
        within(peer.send(frame(b""))).await;
        peer
    })
    .await;
    let large = "x".repeat(8 << 20);
    let mut connection = within(Connection::connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Prefixed>(&large))
        .await
        .expect_err("a refusal");
    assert_eq!(
        error.refusal().expect("refused").kind(),
        RefusalKind::TooLarge
    );
    assert_eq!(
        within(connection.call::<Prefixed>("next"))
            .await
            .expect("a reply"),
        ""
    );
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
}

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
                    format!("{addr} sent no valid frame"),
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
            "sent no valid frame",
            "the server sent text (`HTTP`) where a length stands: it does not speak \
             length-prefixed frames"
                .to_owned(),
        ),
        (
            frame(&[b'x'; 101]),
            "sent no valid frame",
            "a message of 101 bytes exceeds `max_frame_len` of 100 bytes".to_owned(),
        ),
        (
            1_000_u32.to_be_bytes().to_vec(),
            "sent no valid frame",
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

#[tokio::test]
async fn nobody_listening_is_told_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    drop(listener);
    let error = within(Client::new(ask::<Lines>("x")).address(addr).open()).await;
    let error = error.expect_err("nobody listens");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Connect, Execution::NotSent)
    );
    assert_eq!(error.peer_addr(), Some(addr));
    assert_eq!(
        format!("{error:?}"),
        format!("cannot connect to {addr}: Connection refused (os error 111)")
    );
}

#[tokio::test]
async fn host_that_does_not_resolve_is_told() {
    // RFC 6761, section 6.4: names under `invalid` do not exist.
    let client = Client::new(ask::<Lines>("x"))
        .host("nobody.invalid")
        .port(7);
    let error = within(client.open()).await.expect_err("no such host");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Resolve, Execution::NotSent)
    );
    assert_eq!(error.to_string(), "cannot resolve nobody.invalid:7");
    let error = within(Client::new(ask::<Lines>("x")).address("a:b").open()).await;
    assert_eq!(
        error.expect_err("no port").to_string(),
        "cannot read the address `a:b`: the port is no number from 0 to 65535"
    );
}

#[tokio::test]
async fn greeting_is_received_before_anything_is_asked() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        within(peer.send("220 ready\n")).await;
        assert_eq!(within(peer.receive(5)).await, b"NOOP\n");
        within(peer.send("250 ok\n")).await;
    })
    .await;
    let mut connection: Connection<Lines> =
        within(Connection::connect(addr)).await.expect("it listens");
    let greeting: &str = within(connection.receive::<Plain, _>())
        .await
        .expect("a greeting");
    assert_eq!(greeting, "220 ready");
    assert_eq!(
        within(connection.call::<Text<Lines>>("NOOP"))
            .await
            .expect("a reply"),
        "250 ok"
    );
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[tokio::test]
async fn connection_speaks_over_any_stream() {
    let (near, far) = tokio::io::duplex(8);
    let server = tokio::spawn(async move {
        let mut peer = RawPeer::over(far);
        hears(&mut peer, "in memory").await;
        within(peer.send(frame(b"as well"))).await;
        peer
    });
    let mut connection = Connection::over(near);
    assert_eq!(
        within(connection.call::<Prefixed>("in memory"))
            .await
            .expect("a reply"),
        "as well"
    );
    assert_eq!(connection.peer().addr(), None);
    drop(
        within(server)
            .await
            .expect("the server saw what it expects"),
    );
}

#[tokio::test]
async fn exchanges_can_be_spawned() {
    let (addr, server) = RawServer::once(|mut peer| async move {
        hears(&mut peer, "x").await;
        within(peer.send(frame(b"y"))).await;
    })
    .await;
    let task = tokio::spawn(async move {
        let mut connection = Connection::connect(addr).await?;
        connection.exchange(ask::<LengthPrefixed>("x")).await
    });
    assert_eq!(within(task).await.expect("no panic").expect("a reply"), "y");
    within(server)
        .await
        .expect("the server saw what it expects");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let options = [
        (
            ConnectOptions::new().reply_timeout(Duration::ZERO),
            "reply_timeout",
        ),
        (
            ConnectOptions::new().connect_timeout(Duration::ZERO),
            "connect_timeout",
        ),
        (ConnectOptions::new().max_frame_len(0), "max_frame_len"),
        (
            ConnectOptions::new().max_frame_len((512 << 20) + 1),
            "max_frame_len",
        ),
    ];
    for (options, setting) in options {
        let (near, _far) = tokio::io::duplex(8);
        let error = options.over::<Lines, _>(near).expect_err("no sense");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}
