//! Several listeners of one server share its limits, its drain and its report.

#[cfg(unix)]
use std::os::fd::AsFd as _;
use std::{
    io::{self, ErrorKind as IoErrorKind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ErrorKind, OnceServer, Peer,
    framing::LengthPrefixed,
    protocol::ServerProtocol,
    server::{BoundServer, Mode, Server, ServerHandle},
    transport::{Incoming, Listener, MemoryConnector, memory},
};
use tcs_tests::{
    Gate, Heard, Log, RawPeer, Tester, adds_up, code, frame, gate, own_ip, patiently, start,
    tester, within,
};
use tokio::{io::duplex, net::TcpListener, runtime::Runtime, sync::Notify, time::Instant};

/// A listener that calls a function.
struct Calls<F>(F);

impl<F, A> Listener for Calls<F>
where
    F: FnMut() -> A + Send + 'static,
    A: Future<Output = io::Result<Option<Incoming>>> + Send,
{
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        (self.0)().await
    }

    fn name(&self) -> String {
        "calls".to_owned()
    }
}

fn server(gate: &Gate) -> ConcurrentServer<Tester<LengthPrefixed>> {
    ConcurrentServer::new(tester(gate))
}

/// Adds a listener in memory.
fn in_memory<P: ServerProtocol, M: Mode>(server: Server<P, M>) -> (Server<P, M>, MemoryConnector) {
    let (listener, connector) = memory();
    (server.listener(listener), connector)
}

/// Serves a request on a thread of the server's own, and stops it.
fn serves_on_a_thread<P: ServerProtocol, M: Mode>(
    server: Server<P, M>,
    connector: &MemoryConnector,
) {
    let thread = server.start().expect("good settings");
    Runtime::new().expect("a runtime").block_on(async {
        let mut peer = connect(connector).await;
        assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    });
    assert_eq!(thread.stop().expect("it ends").requests.served, 1);
}

async fn connect(connector: &MemoryConnector) -> RawPeer {
    RawPeer::over(within(connector.connect()).await.expect("it listens"))
}

/// Starts a server whose listeners were added before.
async fn run<P: ServerProtocol, M: Mode>(
    server: Server<P, M>,
) -> (
    ServerHandle,
    tokio::task::JoinHandle<tcs::Result<tcs::server::Report>>,
) {
    let bound = server.bind().await.expect("good settings");
    (bound.handle(), tokio::spawn(bound.listen()))
}

#[tokio::test]
async fn listeners_share_the_limit_of_connections_and_none_starves() {
    const ROUNDS: usize = 20;
    let mut server = server(&gate()).max_connections(1);
    let order = Arc::<Mutex<Vec<usize>>>::default();
    let (accepted, mut done) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..3 {
        // Each always has a peer, which has left already.
        let (order, accepted) = (Arc::clone(&order), accepted.clone());
        server = server.listener(Calls(move || {
            order.lock().expect("no panic").push(number);
            let is_over = accepted.send(()).is_err();
            let incoming = (!is_over).then(|| Incoming::new(duplex(1).0, Peer::unnamed()));
            async { Ok(incoming) }
        }));
    }
    let (handle, serving) = run(server).await;
    for _ in 0..3 * ROUNDS {
        within(done.recv()).await.expect("it accepts");
    }
    handle.stop();
    let report = within(serving).await.expect("no panic").expect("it ends");
    adds_up(&report);
    let order = order.lock().expect("no panic");
    let turns: Vec<usize> = (0..3 * ROUNDS).map(|turn| turn % 3).collect();
    assert_eq!(order[..3 * ROUNDS], turns);
}

#[tokio::test]
async fn peers_of_all_listeners_are_served_one_after_the_other() {
    let (server, first) = in_memory(server(&gate()).max_connections(1));
    let (server, second) = in_memory(server);
    let server = start(server).await;
    let ask_often = async |connector: &MemoryConnector| {
        for _ in 0..50 {
            let mut peer = connect(connector).await;
            assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
        }
    };
    let over_tcp = async {
        for _ in 0..50 {
            let mut peer = server.peer().await;
            assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
        }
    };
    tokio::join!(ask_often(&first), ask_often(&second), over_tcp);
    let report = server.stopped().await;
    assert_eq!(
        (report.connections.accepted, report.requests.served),
        (150, 150)
    );
}

#[tokio::test]
async fn server_whose_only_listener_ends_drains_and_returns() {
    let gate = gate();
    let (server, connector) = in_memory(server(&gate));
    let (_, serving) = run(server).await;
    let mut peer = connect(&connector).await;
    within(peer.send(frame("wait work"))).await;
    within(gate.reached()).await;
    drop(connector);
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("work"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    let report = within(serving).await.expect("no panic");
    let report = report.expect("that no more come is no error");
    adds_up(&report);
    assert_eq!((report.requests.served, report.connections.closed), (1, 1));
}

#[tokio::test]
async fn listener_that_ends_beside_another_ends_nothing() {
    let (server, connector) = in_memory(server(&gate()));
    let server = start(server).await;
    assert_eq!(
        within(connect(&connector).await.ask("a")).await,
        Heard::message("a")
    );
    drop(connector);
    assert_eq!(
        within(server.peer().await.ask("b")).await,
        Heard::message("b")
    );
    assert_eq!(server.stopped().await.requests.served, 2);
}

fn panics() -> impl Listener {
    Calls(async || panic!("a listener\u{1b}"))
}

#[tokio::test]
async fn server_whose_only_listener_panics_returns_the_panic() {
    let (log, _logging) = Log::start();
    let (_, serving) = run(server(&gate()).listener(panics())).await;
    let error = within(serving).await.expect("it is caught");
    let error = error.expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::Accept);
    let source = std::error::Error::source(&error).expect("the panic");
    assert!(source.to_string().contains("a listener"), "{source}");
    let logged = log.with("a listener has failed");
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("listener=calls"), "{logged:?}");
    assert!(logged[0].contains("error=a listener\\u{1b}"), "{logged:?}");
}

#[tokio::test]
async fn listener_that_panics_beside_another_ends_nothing() {
    let server = start(server(&gate()).listener(panics())).await;
    assert_eq!(
        within(server.peer().await.ask("a")).await,
        Heard::message("a")
    );
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// A server whose first listener has failed long ago does not end as if all were well.
#[tokio::test]
async fn server_returns_the_error_of_a_listener_that_failed_before_the_last_one_ended() {
    let (server, connector) = in_memory(server(&gate()).listener(panics()));
    let (_, serving) = run(server).await;
    assert_eq!(
        within(connect(&connector).await.ask("a")).await,
        Heard::message("a")
    );
    drop(connector);
    let ended = within(serving).await.expect("no panic");
    assert_eq!(ended.expect_err("one failed").kind(), ErrorKind::Accept);
}

#[tokio::test]
async fn once_server_that_has_answered_returns_its_report_although_a_listener_failed() {
    let once = OnceServer::new(tester::<LengthPrefixed>(&gate())).listener(panics());
    let (once, connector) = in_memory(once);
    let (_, serving) = run(once).await;
    let mut peer = connect(&connector).await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    let ended = within(serving).await.expect("no panic");
    assert_eq!(ended.expect("it is done").requests.served, 1);
}

/// A listener that is reset each time it is asked.
fn resets(asked: &Arc<AtomicUsize>) -> impl Listener {
    let asked = Arc::clone(asked);
    Calls(move || {
        asked.fetch_add(1, Ordering::Relaxed);
        async { Err(IoErrorKind::ConnectionReset.into()) }
    })
}

#[tokio::test]
async fn listener_that_is_always_reset_starves_neither_others_nor_a_stop() {
    let asked = Arc::default();
    let (server, connector) = in_memory(server(&gate()).listener(resets(&asked)));
    let server = start(server).await;
    for mut peer in [connect(&connector).await, server.peer().await] {
        assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    }
    assert!(asked.load(Ordering::Relaxed) > 1, "it is asked again");
    // Timers go on as well.
    within(tokio::time::sleep(Duration::from_millis(1))).await;
    assert_eq!(server.stopped().await.requests.served, 2);
}

/// Nothing else wakes the server in this test.
#[tokio::test(start_paused = true)]
async fn connection_after_one_that_was_reset_is_accepted_at_once() {
    let (near, far) = duplex(1 << 10);
    let incoming = Incoming::new(far, Peer::unnamed());
    let mut results = [
        Ok(Some(incoming)),
        Err(IoErrorKind::ConnectionReset.into()),
        Err(IoErrorKind::ConnectionAborted.into()),
    ]
    .into_iter();
    let listener = Calls(move || {
        let result = results.next_back();
        async { result.unwrap_or(Ok(None)) }
    });
    let serving = tokio::spawn(server(&gate()).listener(listener).listen());
    let mut peer = RawPeer::over(near);
    let began = Instant::now();
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(peer);
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    assert_eq!(report.connections.closed, 1);
}

/// There the accept loop is not a task of the runtime.
#[test]
fn listener_that_is_always_reset_starves_neither_others_nor_a_stop_on_a_thread() {
    let asked = Arc::default();
    let (server, connector) = in_memory(server(&gate()).listener(resets(&asked)));
    serves_on_a_thread(server, &connector);
}

/// A listener need not be cancel safe.
#[tokio::test]
async fn accept_goes_on_while_others_are_accepted() {
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (near, far) = duplex(1 << 10);
    let mut far = Some(far);
    let (counted, gone) = (Arc::clone(&asked), Arc::clone(&go));
    let slow = Calls(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let (far, go) = (far.take(), Arc::clone(&gone));
        async move {
            go.notified().await;
            Ok(far.map(|far| Incoming::new(far, Peer::unnamed())))
        }
    });
    let (server, connector) = in_memory(server(&gate()).max_connections(2).listener(slow));
    let (handle, serving) = run(server).await;
    for _ in 0..10 {
        let mut peer = connect(&connector).await;
        assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    go.notify_one();
    let mut peer = RawPeer::over(near);
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    drop(peer);
    handle.stop();
    let report = within(serving).await.expect("no panic").expect("it ends");
    assert_eq!(report.requests.served, 11);
}

#[tokio::test]
async fn listener_that_says_that_it_is_not_connected_has_failed() {
    let (log, _logging) = Log::start();
    let listener = Calls(async || Err(io::Error::new(IoErrorKind::NotConnected, "gone")));
    let (_, serving) = run(server(&gate()).listener(listener)).await;
    let error = within(serving).await.expect("no panic");
    let error = error.expect_err("nothing listens");
    assert_eq!(error.kind(), ErrorKind::Accept);
    let source = std::error::Error::source(&error).expect("the reason");
    assert_eq!(source.to_string(), "gone");
    assert_eq!(log.with("a listener has failed").len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn server_ends_when_its_socket_does_not_listen_any_more() {
    let listener = within(TcpListener::bind("127.0.0.1:0")).await;
    let listener = listener.expect("a free port");
    let descriptor = listener.as_fd().try_clone_to_owned();
    let server = server(&gate()).listener(listener);
    // After shutdown(2), accept(2) fails with EINVAL.
    std::net::TcpStream::from(descriptor.expect("descriptors are left"))
        .shutdown(std::net::Shutdown::Both)
        .expect("Linux shuts down listeners as well");
    let error = within(server.listen()).await.expect_err("it cannot accept");
    assert_eq!(error.kind(), ErrorKind::Accept);
}

/// Returns an error without a number, and keeps when it was asked.
fn misses(asked: &Arc<Mutex<Vec<Instant>>>) -> impl Listener {
    let asked = Arc::clone(asked);
    Calls(move || {
        let mut asked = asked.lock().expect("no panic");
        asked.push(Instant::now());
        // Without a pause, the paused clock would stand still.
        assert!(asked.len() < 1_000, "there is no pause");
        async { Err(IoErrorKind::InvalidInput.into()) }
    })
}

#[tokio::test(start_paused = true)]
async fn error_without_a_number_is_no_failure_and_is_retried_after_a_pause() {
    let (log, _logging) = Log::start();
    let asked = Arc::default();
    let (handle, serving) = run(server(&gate()).listener(misses(&asked))).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    handle.stop();
    let report = patiently(serving).await.expect("no panic");
    adds_up(&report.expect("no failure"));
    let asked = asked.lock().expect("no panic");
    assert_eq!(asked.len(), 11);
    let pauses = 100..=102;
    for pair in asked.windows(2) {
        let pause = (pair[1] - pair[0]).as_millis();
        assert!(pauses.contains(&pause), "{pause}");
    }
    let logged = log.with("cannot accept connections now");
    assert_eq!(logged.len(), 1);
    assert!(logged[0].contains("listener=calls"), "{logged:?}");
}

#[tokio::test(start_paused = true)]
async fn listener_that_pauses_delays_no_other() {
    let asked = Arc::default();
    let (server, connector) = in_memory(server(&gate()).listener(misses(&asked)));
    let (handle, serving) = run(server).await;
    let began = Instant::now();
    for _ in 0..100 {
        let mut peer = connect(&connector).await;
        assert_eq!(patiently(peer.ask("a")).await, Heard::message("a"));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    handle.stop();
    let report = patiently(serving)
        .await
        .expect("no panic")
        .expect("it ends");
    assert_eq!(report.requests.served, 100);
}

#[tokio::test]
async fn listener_of_tokio_that_exists_already_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let bound = server(&gate()).listener(listener).bind().await;
    let bound = bound.expect("good settings");
    assert_eq!(bound.local_addr(), addr);
    assert_eq!(bound.local_addrs().collect::<Vec<_>>(), [addr]);
    let (handle, serving) = (bound.handle(), tokio::spawn(bound.listen()));
    let mut peer = RawPeer::connect(addr).await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    drop(peer);
    handle.stop();
    let report = within(serving).await.expect("no panic").expect("it ends");
    assert_eq!(report.requests.served, 1);
}

#[tokio::test]
async fn address_is_bound_beside_other_listeners_only_if_it_was_set() {
    let bind = async |server: ConcurrentServer<_>| -> BoundServer {
        server.bind().await.expect("a free port")
    };
    let (alone, _connector) = in_memory(server(&gate()));
    assert_eq!(bind(alone).await.local_addrs().count(), 0);
    let (with_port, _connector) = in_memory(server(&gate()).port(0));
    assert_eq!(bind(with_port).await.local_addrs().count(), 1);
    let (with_address, _connector) = in_memory(server(&gate()).address("127.0.0.1:0"));
    assert_eq!(bind(with_address).await.local_addrs().count(), 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let other = listener.local_addr().expect("it listens");
    let both = bind(server(&gate()).listener(listener).port(0)).await;
    // The server's own address comes first, whatever was set first.
    assert_ne!(both.local_addr(), other);
    assert_eq!(both.local_addrs().nth(1), Some(other));
}

#[tokio::test]
async fn function_that_is_called_at_the_start_sees_the_address() {
    let (sender, seen) = tokio::sync::oneshot::channel();
    let server = server(&gate()).on_listening(|bound| {
        sender.send(bound.local_addr()).expect("the test waits");
    });
    let server = start(server).await;
    assert_eq!(within(seen).await, Ok(server.addr()));
    server.stopped().await;
}

#[tokio::test]
#[should_panic(expected = "no listener of this server has a socket address")]
async fn address_of_a_server_without_one_panics() {
    let (server, _connector) = in_memory(server(&gate()));
    let bound = server.bind().await.expect("good settings");
    bound.local_addr();
}

#[test]
fn server_without_an_address_runs_on_a_thread_of_its_own() {
    let (server, connector) = in_memory(server(&gate()));
    serves_on_a_thread(server, &connector);
}

#[tokio::test]
async fn once_server_closes_all_its_listeners_when_its_request_begins() {
    let gate = gate();
    let once = OnceServer::new(tester::<LengthPrefixed>(&gate));
    let (once, first) = in_memory(once);
    let (once, second) = in_memory(once);
    let once = start(once.host(own_ip().to_string())).await;
    let mut peer = connect(&first).await;
    // One that waits to be accepted is not served any more.
    let mut waiting = connect(&second).await;
    within(peer.send(frame("wait work"))).await;
    within(gate.reached()).await;
    for connector in [&first, &second] {
        let refused = within(connector.connect()).await.expect_err("closed");
        assert_eq!(refused.kind(), IoErrorKind::ConnectionRefused);
    }
    let refused = once.try_peer().await.expect_err("closed");
    assert_eq!(refused.kind(), IoErrorKind::ConnectionRefused);
    assert_eq!(within(waiting.rest()).await, b"");
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("work"));
    drop(peer);
    let report = once.finished().await;
    assert_eq!(
        (report.connections.accepted, report.requests.served),
        (1, 1)
    );
}

/// The number and the peer of the connection.
#[tcs::server_protocol]
fn which(_request: &str, info: &tcs::ConnectionInfo) -> String {
    format!("{} {}", info.id(), info.peer())
}

#[tokio::test]
async fn connections_of_all_listeners_are_numbered_and_reported_together() {
    let (server, first) = in_memory(ConcurrentServer::new(Which));
    let (server, second) = in_memory(server);
    let server = start(server).await;
    let mut numbers = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        for mut peer in [
            connect(&first).await,
            connect(&second).await,
            server.peer().await,
        ] {
            let Heard::Message(said) = within(peer.ask("")).await else {
                panic!("a reply");
            };
            let said = String::from_utf8(said).expect("text");
            let (number, name) = said.split_once(' ').expect("two words");
            numbers.push(number.parse::<u64>().expect("a number"));
            assert!(name == "unnamed peer" || name.starts_with("127.0.0.1:"));
            peers.push(peer);
        }
    }
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    server.handle().stop();
    for peer in &mut peers {
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    }
    drop(peers);
    let report = server.finished().await;
    assert_eq!((report.connections.closed, report.requests.served), (9, 9));
}

/// A connection that was accepted in the moment of the stop is told, not dropped.
#[tokio::test]
async fn accept_that_is_ready_when_the_server_is_stopped_is_not_lost() {
    let (near, far) = duplex(1 << 10);
    let handle = Arc::<Mutex<Option<ServerHandle>>>::default();
    let stopped = Arc::clone(&handle);
    let mut far = Some(far);
    let stops = Calls(move || {
        let incoming = far.take().map(|far| Incoming::new(far, Peer::unnamed()));
        let handle = stopped.lock().expect("no panic").take();
        async move {
            // So that the stop and the connection come in one poll of the server.
            tokio::task::yield_now().await;
            handle.expect("it is asked once").stop();
            Ok(incoming)
        }
    });
    let bound = server(&gate()).listener(stops).bind().await;
    let bound = bound.expect("good settings");
    *handle.lock().expect("no panic") = Some(bound.handle());
    let report = within(bound.listen());
    let mut peer = RawPeer::over(near);
    let (report, heard) = tokio::join!(report, within(peer.hear()));
    assert_eq!(heard.kind(), code::GOING_AWAY);
    let report = report.expect("it ends");
    adds_up(&report);
    assert_eq!(
        (report.connections.accepted, report.connections.closed),
        (1, 1)
    );
}
