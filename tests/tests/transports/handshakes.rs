//! What happens between accepting a connection and the first byte of its protocol.

use std::{
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, ErrorKind, Peer, Rejection,
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Context, ServerProtocol},
    testing::LeakCheck,
    transport::{Handshake, Listener as _, MemoryConnector, Stream, memory},
};
use tcs_tests::{
    Heard, Kind, Log, RawPeer, Tester, adds_up, code, each_kind, ended_between, ended_in_time,
    frame, gate, patiently, start, tester_of, within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Semaphore,
    time::Instant,
};

/// Reads its byte, and adds it to the fact that the other steps have left.
struct Step(u8);

/// The bytes of the steps that have run.
#[derive(Clone)]
struct Steps(String);

impl Handshake for Step {
    async fn perform(&self, mut stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
        let byte = stream.read_u8().await?;
        if byte != self.0 {
            return Err(io::Error::other(format!(
                "{} is not \u{1b}{}",
                char::from(byte),
                char::from(self.0)
            )));
        }
        let mut steps = peer.get::<Steps>().cloned().unwrap_or(Steps(String::new()));
        steps.0.push(char::from(byte));
        peer.insert(steps);
        Ok(stream)
    }
}

/// Gives the peer an address, as that of the client of a balancer.
struct Readdress(SocketAddr);

impl Handshake for Readdress {
    async fn perform(&self, stream: Stream, peer: &mut Peer) -> io::Result<Stream> {
        peer.set_addr(self.0);
        Ok(stream)
    }
}

/// Panics.
struct Panics;

impl Handshake for Panics {
    async fn perform(&self, _stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        panic!("a handshake\u{1b}")
    }
}

/// Never ends for a peer that begins with `s`, and knows how many wait and are gone.
#[derive(Clone)]
struct Stalls(Arc<Stalled>);

struct Stalled {
    waits: Semaphore,
    gone: AtomicUsize,
}

impl Stalls {
    fn new() -> Self {
        Self(Arc::new(Stalled {
            waits: Semaphore::new(0),
            gone: AtomicUsize::new(0),
        }))
    }

    /// Waits until one more handshake stalls.
    async fn stalled(&self) {
        self.0.waits.acquire().await.expect("never closed").forget();
    }

    fn gone(&self) -> usize {
        self.0.gone.load(Ordering::Relaxed)
    }
}

impl Handshake for Stalls {
    async fn perform(&self, mut stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        match stream.read_u8().await? {
            b's' => {
                let _gone = Gone(&self.0);
                self.0.waits.add_permits(1);
                pending().await
            }
            b'w' => {
                self.0.waits.add_permits(1);
                stream.read_u8().await?;
                Ok(stream)
            }
            _ => Ok(stream),
        }
    }
}

struct Gone<'a>(&'a Stalled);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::Relaxed);
    }
}

/// Replies with what was known of the peer when the session was opened.
struct Knows;

impl ServerProtocol for Knows {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = String;
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    fn open_session(&self, info: &ConnectionInfo) -> String {
        let peer = info.peer();
        let steps = peer.get::<Steps>().map_or("", |steps| &steps.0);
        format!("{peer} {steps}")
    }

    async fn process_request(
        &self,
        context: Context<'_, String>,
        request: &str,
    ) -> Result<String, Rejection> {
        Ok(format!("{request} {}", context.session))
    }
}

each_kind!(
    paused:
    stalled_handshake_holds_up_nobody_and_ends_when_its_time_is_over,
    handshakes_count_against_the_limit_of_connections,
);

fn server() -> ConcurrentServer<Tester<LengthPrefixed>> {
    server_of()
}

fn server_of<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

async fn connect(connector: &MemoryConnector) -> RawPeer {
    RawPeer::over(patiently(connector.connect()).await.expect("it listens"))
}

const REAL: &str = "203.0.113.7:80";

fn real() -> Readdress {
    Readdress(REAL.parse().expect("an address"))
}

#[tokio::test]
async fn handshakes_run_in_order_and_before_the_session_is_opened() {
    let (listener, connector) = memory();
    let listener = listener
        .with_handshake(Step(b'a'))
        .with_handshake(Step(b'b'));
    let server = ConcurrentServer::new(Knows)
        .listener(listener.with_handshake(real()))
        .port(0)
        .handshake(Step(b'x'))
        .handshake(Step(b'y'))
        .handshake(real());
    let server = start(server).await;
    for (mut peer, steps) in [
        (connect(&connector).await, "ab"),
        (server.peer().await, "xy"),
    ] {
        // The first request comes with the last byte of the handshakes.
        let sent = [steps.as_bytes(), &frame("1")].concat();
        within(peer.send(sent)).await;
        let said = Heard::message(&format!("1 {REAL} {steps}"));
        assert_eq!(within(peer.hear()).await, said);
    }
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// Otherwise the connections of the other listener would be served without it.
#[tokio::test]
async fn handshake_without_connections_that_it_is_for_is_an_error() {
    let reason = "handshake and `tls` are for the connections to `address`, and there is none; ";
    let (listener, connector) = memory();
    let server = ConcurrentServer::new(Knows)
        .listener(listener)
        .handshake(real());
    let error = server
        .bind()
        .await
        .expect_err("its peers would be unencrypted");
    let expected = format!("{reason}give each listener its own with `with_handshake`");
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Setting, expected)
    );
    assert!(patiently(connector.connect()).await.is_err());

    let (_near, far) = tokio::io::duplex(1);
    let server = ConcurrentServer::new(Knows).handshake(real()).port(0);
    let serving = server.serve_stream(far, Peer::unnamed());
    let error = within(serving)
        .await
        .expect_err("its peer would be unencrypted");
    let expected = "handshake is not for `serve_stream`; call `perform` of the handshake before";
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Setting, expected.to_owned())
    );
}

#[tokio::test]
async fn stream_of_ones_own_needs_no_listener() {
    let server = || ConcurrentServer::new(Knows);
    for (server, setting) in [
        (server().listener(memory().0), "listener"),
        (server().on_listening(|_| {}), "on_listening"),
    ] {
        let (_near, far) = tokio::io::duplex(1);
        let serving = within(server.serve_stream(far, Peer::unnamed())).await;
        let error = serving.expect_err("it listens at nothing");
        let expected = format!("{setting} is not for `serve_stream`, which serves one stream");
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Setting, expected)
        );
    }
}

/// A fact replaces that of the same type, and stands beside those of others.
#[test]
fn peer_has_one_fact_of_each_type() {
    let mut peer = Peer::named("a");
    assert_eq!(peer.get::<u8>(), None);
    peer.insert(1_u8);
    peer.insert(2_u16);
    let before = peer.clone();
    peer.insert(3_u8);
    assert_eq!((peer.get::<u8>(), peer.get::<u16>()), (Some(&3), Some(&2)));
    assert_eq!(before.get::<u8>(), Some(&1));
    assert_eq!(peer.to_string(), "a");
}

async fn stalled_handshake_holds_up_nobody_and_ends_when_its_time_is_over<K: Kind>() {
    let limit = Duration::from_secs(3);
    let (log, _logging) = Log::start();
    let (stalls, (listener, connector)) = (Stalls::new(), memory());
    let server = server_of::<K>()
        .listener(
            listener
                .with_handshake(stalls.clone())
                .with_handshake(real()),
        )
        .handshake_timeout(limit);
    let bound = server.bind().await.expect("good settings");
    let (handle, serving) = (bound.handle(), tokio::spawn(bound.listen()));
    let began = Instant::now();
    let mut stalled = connect(&connector).await;
    patiently(stalled.send("s")).await;
    patiently(stalls.stalled()).await;
    let mut other = connect(&connector).await;
    patiently(other.send("o")).await;
    assert_eq!(patiently(other.ask("a")).await, Heard::message("a"));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(patiently(stalled.rest()).await, b"");
    ended_in_time(began, limit);
    assert_eq!(stalls.gone(), 1);
    let logged = log.with("a handshake has failed");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("peer=unnamed peer"), "{logged:?}");
    let reason = "reason=it took longer than 3s (`handshake_timeout`)";
    assert!(logged[0].contains(reason), "{logged:?}");
    handle.stop();
    drop(other);
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    adds_up(&report);
    assert_eq!((report.connections.closed, report.requests.served), (2, 1));
}

/// All handshakes of a connection share one limit.
#[tokio::test(start_paused = true)]
async fn handshakes_of_a_connection_share_their_time() {
    let limit = Duration::from_secs(3);
    let (listener, connector) = memory();
    let listener = listener
        .with_handshake(Step(b'a'))
        .with_handshake(Step(b'b'));
    let server = server().listener(listener).handshake_timeout(limit);
    let serving = tokio::spawn(server.listen());
    let mut peer = connect(&connector).await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    patiently(peer.send("a")).await;
    assert_eq!(patiently(peer.rest()).await, b"");
    ended_in_time(began, limit);
    drop(connector);
    adds_up(
        &patiently(serving)
            .await
            .expect("no panic")
            .expect("it ends"),
    );
}

#[tokio::test(start_paused = true)]
async fn stop_drops_a_stalled_handshake_a_second_later() {
    let (log, _logging) = Log::start();
    let (stalls, (listener, connector)) = (Stalls::new(), memory());
    let server = server().listener(listener.with_handshake(stalls.clone()));
    let bound = server.bind().await.expect("good settings");
    let (handle, serving) = (bound.handle(), tokio::spawn(bound.listen()));
    let mut peer = connect(&connector).await;
    patiently(peer.send("s")).await;
    patiently(stalls.stalled()).await;
    let began = Instant::now();
    handle.stop();
    assert_eq!(patiently(peer.rest()).await, b"");
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    let waited = began.elapsed();
    assert!((1_000..=1_250).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(stalls.gone(), 1);
    adds_up(&report);
    assert_eq!(
        (report.connections.closed, report.connections.aborted),
        (1, 0)
    );
    // The end of the server is no failure.
    assert_eq!(log.with("a handshake has failed").len(), 0);
    let ended = log.with("a handshake has ended");
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(
        ended[0].contains("reason=the server is stopping"),
        "{ended:?}"
    );
}

/// Over TLS 1.3, a request can arrive together with the end of the handshake. If the connection were dropped, its
/// peer could not know whether the request was executed.
#[tokio::test(start_paused = true)]
async fn peer_in_its_handshake_at_a_stop_is_told() {
    let (stalls, (listener, connector)) = (Stalls::new(), memory());
    let server = server().listener(listener.with_handshake(stalls.clone()));
    let bound = server.bind().await.expect("good settings");
    let (handle, serving) = (bound.handle(), tokio::spawn(bound.listen()));
    let mut peer = connect(&connector).await;
    patiently(peer.send("w")).await;
    patiently(stalls.stalled()).await;
    handle.stop();
    // The listener is dropped when the drain begins.
    while patiently(connector.connect()).await.is_ok() {}
    patiently(peer.send("x\0\0\0\0")).await;
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(patiently(peer.rest()).await, b"");
    drop(peer);
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    adds_up(&report);
    assert_eq!(
        (report.connections.closed, report.requests.received),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn dropped_server_drops_its_handshakes() {
    let (stalls, (listener, connector)) = (Stalls::new(), memory());
    let server = server().listener(listener.with_handshake(stalls.clone()));
    let serving = tokio::spawn(server.listen());
    let mut peer = connect(&connector).await;
    patiently(peer.send("s")).await;
    patiently(stalls.stalled()).await;
    serving.abort();
    assert_eq!(patiently(peer.rest()).await, b"");
    assert_eq!(stalls.gone(), 1);
}

/// A rejected peer has a second to close.
#[tokio::test(start_paused = true)]
async fn dropped_server_drops_the_peers_that_it_has_rejected() {
    let rejecting = || server().on_accept(|_| Err(Rejection::busy("")));
    let (listener, at_accept) = memory();
    let rejects_at_accept = rejecting().listener(listener);
    let (listener, after_handshake) = memory();
    let rejects_later = rejecting().listener(listener.with_handshake(Step(b'a')));
    for (server, connector) in [
        (rejects_at_accept, at_accept),
        (rejects_later, after_handshake),
    ] {
        let leaks = LeakCheck::new();
        let serving = tokio::spawn(server.listen());
        let mut peer = connect(&connector).await;
        patiently(peer.send("a")).await;
        assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
        let began = Instant::now();
        serving.abort();
        leaks.assert_none().await;
        let waited = began.elapsed();
        assert!(waited < Duration::from_millis(100), "{waited:?}");
    }
}

/// It has a second, as in a drain, and never longer than `drain_timeout`.
#[tokio::test(start_paused = true)]
async fn handshake_ends_with_the_age_of_its_connection() {
    let (age, second) = (Duration::from_secs(10), Duration::from_secs(1));
    for (drain, more, counts) in [
        (2 * second, second, (1, 0)),
        (Duration::ZERO, Duration::ZERO, (0, 1)),
    ] {
        let (log, _logging) = Log::start();
        let (listener, connector) = memory();
        let server = server().listener(listener.with_handshake(Stalls::new()));
        let server = server.max_connection_age(age).drain_timeout(drain);
        let serving = tokio::spawn(server.handshake_timeout(None).listen());
        let began = Instant::now();
        let mut peer = connect(&connector).await;
        patiently(peer.send("s")).await;
        assert_eq!(patiently(peer.rest()).await, b"");
        ended_between(began, age + more, age + age / 10 + more);
        drop(connector);
        let report = patiently(serving).await.expect("no panic");
        let connections = report.expect("it ends").connections;
        assert_eq!((connections.closed, connections.aborted), counts);
        let reason = "reason=the connection has reached its maximum age (`max_connection_age`)";
        let ended = log.with("a handshake has ended");
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert!(ended[0].contains(reason), "{ended:?}");
        assert_eq!(log.with("a handshake has failed").len(), 0);
    }
}

async fn handshakes_count_against_the_limit_of_connections<K: Kind>() {
    let limit = Duration::from_secs(3);
    let (stalls, (listener, connector)) = (Stalls::new(), memory());
    let server = server_of::<K>()
        .listener(listener.with_handshake(stalls.clone()))
        .handshake_timeout(limit)
        .max_connections(1);
    let serving = tokio::spawn(server.listen());
    let began = Instant::now();
    let mut stalled = connect(&connector).await;
    patiently(stalled.send("s")).await;
    patiently(stalls.stalled()).await;
    let mut next = connect(&connector).await;
    patiently(next.send("o")).await;
    assert_eq!(patiently(next.ask("a")).await, Heard::message("a"));
    // It was accepted only when the other was over.
    ended_in_time(began, limit);
    drop((connector, stalled, next));
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    assert_eq!((report.connections.closed, report.requests.served), (2, 1));
}

#[tokio::test]
async fn handshake_that_fails_closes_its_connection_only() {
    let (log, _logging) = Log::start();
    let (failing, fails) = memory();
    let (panicking, panics) = memory();
    let server = server()
        .listener(failing.with_handshake(real()).with_handshake(Step(b'a')))
        .listener(panicking.with_handshake(Panics))
        .port(0);
    let server = start(server).await;
    let mut before = server.peer().await;
    assert_eq!(within(before.ask("1")).await, Heard::message("1"));

    let mut failed = connect(&fails).await;
    within(failed.send("b")).await;
    assert_eq!(within(failed.rest()).await, b"");
    let mut left = connect(&fails).await;
    within(left.finish()).await;
    assert_eq!(within(left.rest()).await, b"");
    let mut panicked = connect(&panics).await;
    assert_eq!(within(panicked.rest()).await, b"");

    assert_eq!(within(before.ask("2")).await, Heard::message("2"));
    let mut after = connect(&fails).await;
    within(after.send("a")).await;
    assert_eq!(within(after.ask("3")).await, Heard::message("3"));
    drop((before, after));
    let report = server.stopped().await;
    assert_eq!(
        (report.connections.accepted, report.connections.closed),
        (5, 5)
    );
    assert_eq!((report.requests.received, report.requests.served), (3, 3));

    let logged = log.with("a handshake has failed");
    let reasons = [
        (REAL, "reason=b is not \\u{1b}a"),
        (REAL, "reason=unexpected end of file"),
        ("unnamed peer", "reason=a panic: a handshake\\u{1b}"),
    ];
    assert_eq!(logged.len(), reasons.len(), "{logged:?}");
    for (event, (peer, reason)) in logged.iter().zip(reasons) {
        assert!(event.contains(&format!("peer={peer} ")), "{event}");
        assert!(event.contains(reason), "{event}");
    }
}

#[tokio::test]
async fn span_names_the_peer_that_the_handshakes_have_found() {
    let (log, _logging) = Log::start();
    let server = start(server().handshake(real())).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    drop(peer);
    server.stopped().await;
    let spans = log.with("span=connection");
    assert_eq!(spans, [format!("span=connection peer={REAL} id=1 ")]);
}

/// What a handshake writes before it fails reaches the peer.
#[tokio::test]
async fn handshake_can_tell_the_peer_why_it_fails() {
    struct Tells;
    impl Handshake for Tells {
        async fn perform(&self, mut stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
            stream.write_all(b"no").await?;
            Err(io::Error::other("told"))
        }
    }
    let server = start(server().handshake(Tells)).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.rest()).await, b"no");
    server.stopped().await;
}
