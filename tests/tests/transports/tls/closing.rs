//! How connections over TLS end: with `close_notify`, or cut.

use std::{sync::Arc, time::Duration};

use tcs::{
    ConcurrentServer, OnceServer,
    framing::{Framing, LengthPrefixed, Lines, UntilEof},
    server_protocol,
};
use tcs_tests::{Heard, Log, RawPeer, Running, code, frame, gate, start, tester, tls, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

async fn serve<F: Framing>() -> Running {
    start(ConcurrentServer::new(tester::<F>(&gate())).tls(tls::server())).await
}

async fn connect(server: &Running) -> TlsStream<TcpStream> {
    within(tls::connect(server.addr())).await
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    within(stream.write_all(bytes)).await.expect("it reads");
    within(stream.flush()).await.expect("it reads");
}

/// Closes the socket without `close_notify`.
async fn cut(stream: TlsStream<TcpStream>) -> TcpStream {
    let (mut socket, session) = stream.into_inner();
    assert!(!session.wants_write(), "all was sent");
    within(socket.shutdown()).await.expect("it is open");
    socket
}

/// Returns what comes until `close_notify`. `rustls` returns an error if the connection ends without.
async fn rest(stream: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = within(stream.read_to_end(&mut bytes)).await;
    read.expect("the end is announced");
    bytes
}

#[tokio::test]
async fn close_that_the_peer_begins_is_answered() {
    let server = serve::<LengthPrefixed>().await;
    let mut stream = connect(&server).await;
    send(&mut stream, &frame("a")).await;
    within(stream.shutdown()).await.expect("it is open");
    assert_eq!(rest(&mut stream).await, frame("a"));
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn close_that_the_server_begins_is_announced() {
    // The function closes.
    let server = serve::<LengthPrefixed>().await;
    let mut stream = connect(&server).await;
    send(&mut stream, &frame("close")).await;
    assert_eq!(rest(&mut stream).await, b"");
    drop(stream);
    let mut stream = connect(&server).await;
    send(&mut stream, &frame("last a")).await;
    let said = rest(&mut stream).await;
    assert_eq!((&said[..5], said[9]), (&*frame("a"), code::GOING_AWAY));
    drop(stream);
    // The framing is broken.
    let mut stream = connect(&server).await;
    send(&mut stream, b"\xff\xff\xff\xff").await;
    rest(&mut stream).await;
    drop(stream);
    // The server drains; one is idle, and one has begun a frame.
    let mut idle = connect(&server).await;
    send(&mut idle, &frame("a")).await;
    within(idle.read_exact(&mut [0; 5])).await.expect("a reply");
    let mut begun = connect(&server).await;
    send(&mut begun, &[frame("a"), b"\0".to_vec()].concat()).await;
    within(begun.read_exact(&mut [0; 5]))
        .await
        .expect("a reply");
    server.handle().stop();
    assert_eq!(rest(&mut idle).await[4], code::GOING_AWAY);
    assert_eq!(rest(&mut begun).await[4], code::GOING_AWAY);
    drop((idle, begun));
    server.finished().await;
}

#[tokio::test]
async fn close_of_a_once_server_is_announced() {
    let once = OnceServer::new(tester::<LengthPrefixed>(&gate())).tls(tls::server());
    let server = start(once).await;
    let mut stream = connect(&server).await;
    send(&mut stream, &frame("a")).await;
    assert_eq!(rest(&mut stream).await[..5], frame("a"));
    drop(stream);
    assert_eq!(server.finished().await.requests.served, 1);
}

#[tokio::test]
async fn close_of_an_idle_connection_is_announced() {
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate()))
        .tls(tls::server())
        .idle_timeout(Duration::from_millis(50));
    let server = start(server).await;
    let mut stream = connect(&server).await;
    assert_eq!(rest(&mut stream).await[4], code::IDLE);
    drop(stream);
    server.stopped().await;
}

/// Keeps its requests.
#[server_protocol(framing = UntilEof)]
fn delete(request: &str, #[state] calls: &Arc<std::sync::Mutex<Vec<String>>>) -> String {
    calls.lock().expect("no panic").push(request.to_owned());
    request.to_owned()
}

/// A transfer that is cut looks like one that is complete, without `close_notify`.
#[tokio::test]
async fn request_until_the_end_is_executed_only_if_the_end_is_announced() {
    let (log, _logging) = Log::start();
    let calls = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let protocol = Delete::new(Arc::clone(&calls));
    let server = start(ConcurrentServer::new(protocol).tls(tls::server())).await;
    let mut stream = connect(&server).await;
    send(&mut stream, b"delete /tmp").await;
    let mut socket = cut(stream).await;
    // The server says nothing more; it closes.
    let mut said = Vec::new();
    within(socket.read_to_end(&mut said)).await.ok();

    let mut stream = connect(&server).await;
    send(&mut stream, b"whole").await;
    within(stream.shutdown()).await.expect("it is open");
    assert_eq!(rest(&mut stream).await, b"whole");
    drop(stream);
    let requests = server.stopped().await.requests;
    assert_eq!(*calls.lock().expect("no panic"), ["whole"]);
    assert_eq!((requests.received, requests.served), (1, 1));
    let ends = log.with("message=disconnected");
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(ends[0].contains("close_notify"), "{ends:?}");
    assert!(ends[1].contains("reason=the server has closed"), "{ends:?}");
}

#[tokio::test]
async fn half_a_line_is_not_executed_when_the_connection_is_cut() {
    let server = serve::<Lines>().await;
    let mut stream = connect(&server).await;
    send(&mut stream, b"one\ntwo").await;
    let mut reply = [0; 4];
    within(stream.read_exact(&mut reply))
        .await
        .expect("a reply");
    assert_eq!(&reply, b"one\n");
    drop(cut(stream).await);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.served), (1, 1));
}

/// The replies to whole requests are sent even if the peer cuts instead of closing.
#[tokio::test]
async fn cut_while_a_function_waits_drops_it() {
    let gate = gate();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate)).tls(tls::server());
    let server = start(server).await;
    let mut stream = connect(&server).await;
    send(&mut stream, &frame("wait a")).await;
    within(gate.reached()).await;
    let mut socket = cut(stream).await;
    // It ends although the gate stays closed.
    let mut said = Vec::new();
    within(socket.read_to_end(&mut said)).await.ok();
    let requests = server.stopped().await.requests;
    assert_eq!((requests.received, requests.aborted), (1, 1));
}

#[tokio::test]
async fn peer_that_has_closed_its_half_gets_its_replies() {
    let gate = gate();
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate)).tls(tls::server());
    let server = start(server).await;
    let mut stream = connect(&server).await;
    let requests = [frame("wait a"), frame("size 300000"), frame("b")].concat();
    send(&mut stream, &requests).await;
    within(gate.reached()).await;
    within(stream.shutdown()).await.expect("it is open");
    gate.open();
    let mut peer = RawPeer::over(stream);
    assert_eq!(within(peer.hear()).await, Heard::message("a"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::message(&"x".repeat(300_000))
    );
    assert_eq!(within(peer.hear()).await, Heard::message("b"));
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}
