//! Where nobody can be reached, the client says so in time.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tcs::{Client, Connection, ErrorKind, Execution, client::ConnectOptions, framing::Lines};
use tcs_tests::{client::ask, within};
use tokio::net::TcpSocket;

#[tokio::test]
async fn nobody_listening_is_told_with_the_address() {
    // Nobody else can take its port.
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    let error = within(Client::new(ask::<Lines>("x")).address(addr).open()).await;
    let error = error.expect_err("nobody listens");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Connect, Execution::NotSent)
    );
    assert_eq!(error.peer_addr(), Some(addr));
    assert_eq!(error.to_string(), format!("cannot connect to {addr}"));
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    let kind = source.map(std::io::Error::kind);
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionRefused));
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
        "cannot read the address `a:b`: the port is not a number from 0 to 65535"
    );
}

#[tokio::test]
async fn server_that_does_not_accept_is_given_up_in_time() {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let addr = listener.local_addr().expect("it listens");
    let options = ConnectOptions::new().connect_timeout(Duration::from_millis(200));
    // The operating system takes a few for the backlog.
    let mut waiting: Vec<Connection<Lines>> = Vec::new();
    let error = loop {
        match within(options.connect(addr)).await {
            Ok(connection) => waiting.push(connection),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::TimedOut, Execution::NotSent)
    );
    assert_eq!(
        error.to_string(),
        format!("cannot connect to {addr} within 200ms (`connect_timeout`)")
    );
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
        (
            ConnectOptions::new().keepalive_timeout(Duration::ZERO),
            "keepalive_timeout",
        ),
        (ConnectOptions::new().max_frame_len(0), "max_frame_len"),
        (ConnectOptions::new().max_reply_len(0), "max_reply_len"),
        (
            ConnectOptions::new().max_reply_len((512 << 20) + 1),
            "max_reply_len",
        ),
        (ConnectOptions::new().max_in_flight(0), "max_in_flight"),
        (
            ConnectOptions::new().max_frame_len((512 << 20) + 1),
            "max_frame_len",
        ),
    ];
    for (options, setting) in options {
        let (near, _far) = tokio::io::duplex(8);
        let error = options.over::<Lines>(near).expect_err("no sense");
        assert_eq!(error.kind(), ErrorKind::Setting);
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}

#[test]
fn connecting_outside_of_a_runtime_is_an_error() {
    let mut cx = Context::from_waker(Waker::noop());
    let connecting = pin!(Connection::<Lines>::connect("localhost:1"));
    let Poll::Ready(Err(error)) = connecting.poll(&mut cx) else {
        panic!("it waits");
    };
    assert_eq!(error.kind(), ErrorKind::Runtime);
    let opening = pin!(Client::new(ask::<Lines>("x")).open());
    let Poll::Ready(Err(error)) = opening.poll(&mut cx) else {
        panic!("it waits");
    };
    assert_eq!(error.kind(), ErrorKind::Runtime);
}
