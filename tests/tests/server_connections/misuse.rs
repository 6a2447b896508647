//! What is called in the wrong place, or set to what makes no sense, says so.

use std::{
    error::Error as _,
    io::{self, Write as _},
    pin::pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use tcs::{
    Client, ConcurrentServer, Connection, Error, ErrorKind, IterativeServer, OnceServer, Peer,
    client_protocol, framing::LengthPrefixed, server_protocol,
};
use tcs_tests::{start, threads::joined, within};
use tokio::net::{TcpListener, lookup_host};

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[client_protocol(request = "Ann")]
fn ignore(_reply: &str) {}

/// Polls a future once, outside of any runtime.
fn outside<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it found something to wait for"),
    }
}

fn text(error: &Error) -> (ErrorKind, String) {
    (error.kind(), format!("{error:?}"))
}

#[tokio::test]
async fn run_inside_of_a_runtime_names_what_to_call() {
    let error = ConcurrentServer::new(Greet)
        .port(0)
        .run()
        .expect_err("inside");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Runtime,
            "`run()` was called inside of a tokio runtime: call `listen_until_signal()` and `.await` it"
                .to_owned()
        )
    );
    let error = Client::new(Ignore).run().expect_err("inside");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Runtime,
            "`run()` was called inside of a tokio runtime: call `open()` and `.await` it"
                .to_owned()
        )
    );
}

#[test]
fn listen_outside_of_a_runtime_names_what_to_call() {
    for error in [
        outside(ConcurrentServer::new(Greet).listen()).expect_err("outside"),
        outside(IterativeServer::new(Greet).listen()).expect_err("outside"),
        outside(OnceServer::new(Greet).listen()).expect_err("outside"),
    ] {
        assert_eq!(
            text(&error),
            (
                ErrorKind::Runtime,
                "`listen()` was called outside of a tokio runtime: start one, as `#[tokio::main]` does"
                    .to_owned()
            )
        );
    }
    let error = outside(ConcurrentServer::new(Greet).bind()).expect_err("outside");
    assert!(
        error.to_string().starts_with("`bind()` was called outside"),
        "{error}"
    );
}

#[test]
fn open_and_connect_outside_of_a_runtime_say_so() {
    let error = outside(Client::new(Ignore).open()).expect_err("outside");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Runtime,
            "`open()` was called outside of a tokio runtime: start one, as `#[tokio::main]` does"
                .to_owned()
        )
    );
    let error = outside(Connection::<LengthPrefixed>::connect("127.0.0.1:1")).expect_err("outside");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Runtime,
            "`connect()` was called outside of a tokio runtime: start one, as `#[tokio::main]` does".to_owned()
        )
    );
}

#[test]
fn serve_stream_outside_of_a_runtime_says_so() {
    let (_near, far) = tokio::io::duplex(1);
    let error =
        outside(OnceServer::new(Greet).serve_stream(far, Peer::unnamed())).expect_err("outside");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Runtime,
            "`serve_stream()` was called outside of a tokio runtime: start one, as `#[tokio::main]` does".to_owned()
        )
    );
}

#[tokio::test]
async fn port_in_use_is_told_with_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = taken.local_addr().expect("it listens");
    let error = within(ConcurrentServer::new(Greet).address(addr).listen()).await;
    let error = error.expect_err("the port is in use");
    assert_eq!(
        text(&error),
        (
            ErrorKind::Listen,
            format!("cannot listen on {addr}: Address already in use (os error 98)")
        )
    );
    assert_eq!(error.peer_addr(), Some(addr));
}

/// Fails unless a server says that its port is in use.
fn is_in_use<T>(result: tcs::Result<T>) {
    let error = result.err().expect("the port is in use");
    assert_eq!(error.kind(), ErrorKind::Listen);
    let source = error.source().and_then(|source| source.downcast_ref());
    let source: &io::Error = source.expect("an error of the system");
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
}

/// `localhost` has two addresses on many machines. A second server must not take the other one.
#[tokio::test]
async fn second_server_on_localhost_is_told_that_the_port_is_in_use() {
    let first = start(ConcurrentServer::new(Greet).address("localhost:0")).await;
    let port = first.addr().port();
    let address = ("localhost", port);

    is_in_use(within(ConcurrentServer::new(Greet).address(address).bind()).await);
    is_in_use(within(IterativeServer::new(Greet).address(address).bind()).await);
    is_in_use(within(OnceServer::new(Greet).address(address).bind()).await);
    is_in_use(within(ConcurrentServer::new(Greet).address(address).listen()).await);
    is_in_use(within(IterativeServer::new(Greet).address(address).listen()).await);
    is_in_use(within(OnceServer::new(Greet).address(address).listen()).await);
    // Outside of this runtime, which `start` would reject.
    let started = thread::spawn(move || {
        is_in_use(ConcurrentServer::new(Greet).address(address).start());
        is_in_use(IterativeServer::new(Greet).address(address).start());
        is_in_use(OnceServer::new(Greet).address(address).start());
    });
    joined(started);

    let mut peer = within(Connection::connect(address))
        .await
        .expect("it listens");
    let reply = within(peer.call::<Greet>("Ann")).await;
    assert_eq!(reply.expect("a reply"), "Hello, Ann!");
    drop(peer);
    let addrs = within(lookup_host(address)).await.expect("it is known");
    if addrs.count() == 1 {
        // Not with `eprintln!`, because the harness hides what a test that passes prints.
        io::stderr()
            .write_all(
                b"skipped: `localhost` has one address here, which no second server could evade\n",
            )
            .expect("it is open");
    }
    first.stopped().await;
}

#[tokio::test]
async fn address_that_does_not_resolve_is_told() {
    let error = within(OnceServer::new(Greet).address("nobody.invalid:1").bind()).await;
    let error = error.expect_err("no such host");
    assert_eq!(error.kind(), ErrorKind::Resolve);
    assert_eq!(error.to_string(), "cannot resolve nobody.invalid:1");
}

#[tokio::test]
async fn setting_that_makes_no_sense_is_named() {
    let server = || ConcurrentServer::new(Greet).port(0);
    let zero = "is zero, which leaves no room for anything";
    for (server, expected) in [
        (server().max_frame_len(0), format!("max_frame_len {zero}")),
        (
            server().max_connections(0),
            format!("max_connections {zero}"),
        ),
        (server().max_blocking(0), format!("max_blocking {zero}")),
        (
            server().max_connections_per_address(0),
            format!("max_connections_per_address {zero}"),
        ),
        (
            server().max_in_flight_per_address(0),
            format!("max_in_flight_per_address {zero}"),
        ),
        (
            server().max_request_rate_per_address(0),
            format!("max_request_rate_per_address {zero}"),
        ),
        (
            server().max_requests_per_connection(0),
            format!("max_requests_per_connection {zero}"),
        ),
        (
            server().max_connection_age(Duration::ZERO),
            format!("max_connection_age {zero}"),
        ),
        (
            server().idle_timeout(Duration::ZERO),
            format!("idle_timeout {zero}"),
        ),
        (
            server().frame_timeout(Duration::ZERO),
            format!("frame_timeout {zero}"),
        ),
        (
            server().request_timeout(Duration::ZERO),
            format!("request_timeout {zero}"),
        ),
        (
            server().write_timeout(Duration::ZERO),
            format!("write_timeout {zero}"),
        ),
        (
            server().max_frame_len((512 << 20) + 1),
            "max_frame_len is 536870913 bytes; the most is 536870912 (512 MiB)".to_owned(),
        ),
        (
            server().max_reply_len((512 << 20) + 1),
            "max_reply_len is 536870913 bytes; the most is 536870912 (512 MiB)".to_owned(),
        ),
        (server().max_reply_len(0), format!("max_reply_len {zero}")),
    ] {
        let error = server.bind().await.expect_err("it makes no sense");
        assert_eq!(text(&error), (ErrorKind::Setting, expected));
    }
    let (near, far) = tokio::io::duplex(1);
    drop(near);
    let greatest = server()
        .max_blocking(usize::MAX)
        .serve_stream(far, Peer::unnamed());
    within(greatest).await.expect("it makes sense");
    for server in [
        server()
            .max_blocking(usize::MAX)
            .max_connections(usize::MAX),
        server()
            .max_connections_per_address(usize::MAX)
            .max_in_flight_per_address(usize::MAX)
            .max_request_rate_per_address(u32::MAX)
            .max_requests_per_connection(u64::MAX)
            .max_connection_age(Duration::MAX),
        server().max_frame_len(512 << 20),
        server().linger(Duration::ZERO),
        server().drain_timeout(Duration::ZERO),
        server().lame_duck(Duration::ZERO),
        server()
            .idle_timeout(Duration::MAX)
            .drain_timeout(Duration::MAX)
            .lame_duck(Duration::MAX),
    ] {
        server.bind().await.expect("it makes sense");
    }
}

#[tokio::test]
async fn listening_address_is_told_before_it_serves() {
    let (told, addrs) = mpsc::channel();
    let server = ConcurrentServer::new(Greet)
        .port(0)
        .on_listening(move |server| told.send(server.local_addr()).expect("the test listens"))
        .listen_until(std::future::ready(()));
    let report = within(server).await.expect("it ends well");
    assert_eq!(report, tcs::server::Report::default());
    let addr = addrs.recv().expect("it was told");
    assert_ne!(addr.port(), 0);
    assert!(addr.ip().is_loopback());
}
