//! Connections that continue over TLS.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tcs::{
    Connection, Error, ErrorKind, Execution, client::ConnectOptions, format::Plain,
    framing::LengthPrefixed, protocol::Contract, transport::ClientTls,
};
use tcs_tests::{
    RawPeer,
    channel::call,
    client::{Prefixed, chain, told},
    frame, patiently,
    tls::{Identity, Root},
    within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::failed_writes::{Failing, received};

/// A protocol whose servers greet.
struct Greeted;

impl Contract for Greeted {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = &'a str;

    const HAS_GREETING: bool = true;
}

fn localhost() -> (ClientTls, Identity) {
    let root = Root::new();
    let identity = root.issue("localhost");
    let tls = ClientTls::with_roots(root.file()).expect("a root");
    (tls, identity)
}

/// Greets, answers `start` with these bytes, and performs the handshake.
fn raw_server(
    mut stream: DuplexStream,
    identity: &Identity,
    answer: Vec<u8>,
) -> JoinHandle<std::io::Result<TlsStream<DuplexStream>>> {
    let acceptor = TlsAcceptor::from(Arc::new(identity.raw_server(None)));
    tokio::spawn(async move {
        stream.write_all(&frame("hello")).await?;
        let mut request = [0; 9];
        stream.read_exact(&mut request).await?;
        assert_eq!(request[..], frame("start"));
        stream.write_all(&answer).await?;
        acceptor.accept(stream).await
    })
}

async fn started(connection: &mut Connection<LengthPrefixed>) {
    let reply = within(connection.call::<Greeted>("start")).await;
    assert_eq!(reply.expect("a reply"), "ready");
}

#[tokio::test]
async fn connection_continues_over_tls_without_a_second_greeting() {
    let (tls, identity) = localhost();
    let (near, far) = duplex(1 << 16);
    let server = raw_server(far, &identity, frame("ready"));
    let mut connection = Connection::over(near);
    started(&mut connection).await;
    let connection = within(connection.start_tls(&tls, "localhost")).await;
    let mut connection = connection.expect("a handshake");
    let stream = within(server).await.expect("no panic").expect("a client");
    let mut server = RawPeer::over(stream);
    for _ in 0..2 {
        let call = connection.call::<Greeted>("Ann");
        let (reply, asked) = tokio::join!(within(call), within(server.ask_back()));
        assert_eq!((reply.expect("a reply"), &*asked), ("Ann", "Ann"));
    }
    // It ends as TLS does.
    let ((), rest) = tokio::join!(within(connection.close()), within(server.rest()));
    assert_eq!(rest, b"");
}

/// Fails to start TLS; returns the error.
async fn fails(connection: Connection<LengthPrefixed>, tls: &ClientTls, host: &str) -> Error {
    let connection = within(connection.start_tls(tls, host)).await;
    connection.expect_err("it does not start")
}

/// Who can change what is not encrypted adds a reply, which the client would take for one that came over TLS.
#[tokio::test]
async fn message_before_the_handshake_is_an_error() {
    let (tls, identity) = localhost();
    for injected in [frame("evil"), b"e".to_vec()] {
        let (near, far) = duplex(1 << 16);
        let server = raw_server(far, &identity, [frame("ready"), injected].concat());
        let mut connection = Connection::over(near);
        started(&mut connection).await;
        let error = fails(connection, &tls, "localhost").await;
        assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
        let text = "the server sent more than its reply before TLS";
        assert!(error.to_string().contains(text), "{error}");
        let accepted = within(server).await.expect("no panic");
        assert!(accepted.is_err(), "the client has closed");
    }
}

#[tokio::test]
async fn certificate_must_have_the_name_that_was_given() {
    let (tls, identity) = localhost();
    let (near, far) = duplex(1 << 16);
    let server = raw_server(far, &identity, frame("ready"));
    let mut connection = Connection::over(near);
    started(&mut connection).await;
    let error = fails(connection, &tls, "mail.example").await;
    assert_eq!(told(&error), (ErrorKind::Connect, Execution::NotSent));
    let [what, why, ..] = &chain(&error)[..] else {
        panic!("{error}");
    };
    assert_eq!(what, "cannot connect to mail.example over TLS");
    assert!(
        why.starts_with("the server's certificate is for another name"),
        "{why}"
    );
    assert!(within(server).await.expect("no panic").is_err());
}

#[tokio::test(start_paused = true)]
async fn handshake_is_within_the_limit_of_connecting() {
    let (tls, _) = localhost();
    let (near, mut far) = duplex(1 << 16);
    let options = ConnectOptions::new().connect_timeout(Duration::from_secs(3));
    let mut connection: Connection<LengthPrefixed> = options.over(near).expect("good options");
    far.write_all(&frame("ready")).await.expect("room");
    let reply = patiently(connection.receive::<&str, Plain>()).await;
    assert_eq!(reply.expect("a message"), "ready");
    let started = patiently(connection.start_tls(&tls, "localhost")).await;
    let error = started.expect_err("nobody answers");
    assert_eq!(told(&error), (ErrorKind::TimedOut, Execution::NotSent));
    let text = "cannot connect to localhost within 3s (`connect_timeout`)";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn tls_does_not_start_while_replies_are_missing() {
    let (tls, _) = localhost();
    let (near, mut far) = duplex(1 << 16);
    let mut connection = Connection::over(near);
    let mut pipeline = connection.pipeline::<Prefixed>();
    within(pipeline.send("start")).await.expect("there is room");
    within(pipeline.flush()).await;
    let error = fails(connection, &tls, "localhost").await;
    assert_eq!(told(&error), (ErrorKind::Broken, Execution::NotSent));
    let mut sent = Vec::new();
    within(far.read_to_end(&mut sent)).await.expect("no reset");
    assert_eq!(sent, frame("start"));
}

#[tokio::test]
async fn request_of_which_a_record_was_sent_is_not_called_unsent() {
    // Three requests wait together, and a record has at most 16,384 bytes of them.
    const LENGTH: usize = 10_000;
    const OVERHEAD: usize = 1 + 16 + 5;
    const RECORD: usize = 16_384 + OVERHEAD;
    const ALL: usize = 3 * (4 + LENGTH) + 2 * OVERHEAD;
    let (tls, identity) = localhost();
    for taken in [0, 1, RECORD - 1, RECORD, RECORD + 1, ALL] {
        let (near, far, left) = Failing::new(usize::MAX);
        let server = raw_server(far, &identity, frame("ready"));
        let mut connection = Connection::over(near);
        started(&mut connection).await;
        let connection = within(connection.start_tls(&tls, "localhost")).await;
        let channel = connection.expect("a handshake").into_channel();
        let channel = channel.expect("a runtime");
        let mut server = within(server).await.expect("no panic").expect("a client");
        left.store(taken, Relaxed);
        let request = "x".repeat(LENGTH);
        let calls = [(); 3].map(|()| call(&channel, &request));
        let mut executions = Vec::new();
        for call in calls {
            executions.push(call.error().await.execution());
        }
        drop(channel);
        let received = received(&mut server).await.len();
        for (index, execution) in executions.into_iter().enumerate() {
            let is_sent = received > index * (4 + LENGTH);
            let expected = if is_sent {
                Execution::Unknown
            } else {
                Execution::NotSent
            };
            assert_eq!(
                execution, expected,
                "{index}: {taken} taken, {received} received"
            );
        }
    }
}
