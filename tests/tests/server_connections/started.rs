//! A server on a thread of its own, for programs without a runtime.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use tcs::{
    ConcurrentServer, ErrorKind, OnceServer,
    framing::LengthPrefixed,
    server::{Server, ServerThread},
    server_protocol,
};
use tcs_tests::{Kind, LIMIT, SyncFn, Tester, control, each_kind, frame, gate, tester_of};

#[server_protocol]
fn echo(text: &str) -> &str {
    text
}

each_kind!(
    no_runtime:
    server_serves_beside_the_program_until_it_is_stopped,
    server_ends_by_itself_when_its_lifetime_is_over,
    server_that_is_dropped_goes_on_until_its_handle_stops_it,
    server_that_is_stopped_tells_its_peers,
    limits_end_connections_beside_the_program,
);

fn echoing<K: Kind>() -> Tester<LengthPrefixed, (), K> {
    tester_of(&gate())
}

fn peer(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(addr).expect("it listens");
    peer.set_read_timeout(Some(LIMIT)).expect("a timeout");
    peer
}

fn asks(peer: &mut TcpStream, text: &str) {
    let message = frame(text.as_bytes());
    peer.write_all(&message).expect("it is open");
    let mut reply = vec![0; message.len()];
    peer.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, message);
}

fn concurrent<K: Kind>() -> ServerThread {
    let server = ConcurrentServer::new(echoing::<K>()).port(0);
    server.start().expect("a free port")
}

fn server_serves_beside_the_program_until_it_is_stopped<K: Kind>() {
    let server = concurrent::<K>();
    let mut peer = peer(server.local_addr());
    asks(&mut peer, "one");
    asks(&mut peer, "two");
    drop(peer);
    let report = server.stop().expect("no error");
    assert_eq!((report.requests.served, report.requests.aborted), (2, 0));
}

fn server_ends_by_itself_when_its_lifetime_is_over<K: Kind>() {
    let server = OnceServer::new(echoing::<K>())
        .port(0)
        .start()
        .expect("a free port");
    asks(&mut peer(server.local_addr()), "one");
    assert_eq!(server.join().expect("no error").requests.served, 1);
}

fn server_that_is_dropped_goes_on_until_its_handle_stops_it<K: Kind>() {
    let server = concurrent::<K>();
    let (addr, handle) = (server.local_addr(), server.handle());
    drop(server);
    let mut peer = peer(addr);
    asks(&mut peer, "one");
    handle.stop();
    ends_with(peer, 0x40, "the server is stopping");
}

/// Fails unless this is the last that the server says.
fn ends_with(mut peer: TcpStream, kind: u8, text: &str) {
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).expect("an end");
    assert_eq!(rest, control(kind, text));
}

fn server_that_is_stopped_tells_its_peers<K: Kind>() {
    let server = concurrent::<K>();
    let mut peer = peer(server.local_addr());
    asks(&mut peer, "one");
    server.handle().stop();
    ends_with(peer, 0x40, "the server is stopping");
    let report = server.join().expect("no error");
    assert_eq!((report.requests.served, report.connections.aborted), (1, 0));
}

fn limits_end_connections_beside_the_program<K: Kind>() {
    let server = ConcurrentServer::new(echoing::<K>())
        .idle_timeout(Duration::from_millis(300))
        .port(0);
    let server = server.start().expect("a free port");
    let mut peer = peer(server.local_addr());
    asks(&mut peer, "one");
    ends_with(peer, 0x41, "no request arrived for 300ms (`idle_timeout`)");
    let report = server.stop().expect("no error");
    assert_eq!((report.requests.served, report.connections.aborted), (1, 0));
}

#[test]
fn order_of_the_handle_is_the_result() {
    let server = concurrent::<SyncFn>();
    server.handle().abort();
    let error = server.join().expect_err("it was ended");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn port_that_is_taken_is_told_at_once() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = other.local_addr().expect("it listens");
    let error = ConcurrentServer::new(Echo).address(addr).start();
    let error = error.expect_err("it is taken");
    assert_eq!(
        (error.kind(), error.peer_addr()),
        (ErrorKind::Listen, Some(addr))
    );
}

#[tokio::test]
async fn program_with_a_runtime_is_told_what_to_call() {
    let error = ConcurrentServer::new(Echo).port(0).start();
    let error = error.expect_err("there is a runtime");
    assert_eq!(error.kind(), ErrorKind::Runtime);
    assert_eq!(
        error.to_string(),
        "`start()` was called inside of a tokio runtime: call `bind()` and `.await` it"
    );
}

#[test]
fn what_is_called_when_it_listens_runs_on_its_runtime() {
    let (tell, told) = mpsc::channel();
    let server: Server<_, _> = ConcurrentServer::new(Echo).port(0);
    let server = server.on_listening(move |server| {
        let addr = server.local_addr();
        tokio::spawn(async move { tell.send(addr) });
    });
    let server = server.start().expect("a free port");
    assert_eq!(told.recv_timeout(LIMIT), Ok(server.local_addr()));
    server.stop().expect("no error");
}

#[test]
fn panic_of_what_is_called_when_it_listens_is_passed_on() {
    let server = ConcurrentServer::new(Echo).port(0);
    let server = server.on_listening(|_| panic!("as it happens"));
    let server = server.start().expect("a free port");
    let panic = thread::spawn(|| server.join())
        .join()
        .expect_err("it panicked");
    assert_eq!(panic.downcast_ref(), Some(&"as it happens"));
}
