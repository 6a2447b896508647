//! A server that is stopped goes on in its lame-duck phase, then drains, and whoever asks its handle knows at once.

use std::{
    future::ready,
    io::Read as _,
    marker::PhantomData,
    net::TcpStream,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, ErrorKind, IterativeServer, OnceServer, Rejection,
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Context, ServerProtocol},
    server::ServerHandle,
    transport::memory,
};
use tcs_tests::{
    Act, Heard, Kind, LONG, Over, RawPeer, Running, Tester, code, each_kind, ended_between,
    ended_in_time, frame, gate, over_each, patiently, start_over, tester, tester_of,
    threads::exchange, within,
};
use tokio::time::{Instant, timeout};

each_kind!(
    paused:
    phases_come_in_order,
    further_stops_do_not_extend_the_phase,
    once_server_waits_for_its_request,
    once_server_does_not_wait_for_the_end_of_the_phase,
    iterative_server_serves_the_next,
    server_without_connectors_does_not_wait_for_the_end_of_the_phase,
    stop_before_it_listens_begins_the_phase,
    future_that_is_ready_before_it_listens_begins_the_phase,
    function_stops_its_server,
);
each_kind!(
    [ready_async, waiting] paused:
    drain_timeout_begins_after_the_phase,
    abort_ends_the_phase,
);
each_kind!(handle_of_a_server_that_is_dropped_knows);
each_kind!(no_runtime: phase_is_that_of_a_server_on_its_thread_too);
over_each!(
    phase_is_over_when_its_time_is,
    peers_are_accepted_until_the_server_is_aborted,
    peers_are_accepted_until_the_server_is_dropped,
);

const PHASE: Duration = Duration::from_secs(100);
const DRAIN: Duration = Duration::from_secs(50);
const STOPPING: &str = "the server is stopping";

fn concurrent<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate())).lame_duck(PHASE)
}

async fn in_memory<K: Kind>() -> Running {
    start_over(Over::Memory, concurrent::<K>()).await
}

/// Fails unless the drain has just begun, and ends the connection of this idle peer.
async fn is_drained_from(peer: &mut RawPeer, stopped: Instant) {
    patiently(peer.is_told(code::GOING_AWAY, STOPPING)).await;
    ended_in_time(stopped, PHASE);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
}

/// Returns `true` if the future of [`ServerHandle::stopping`] is ready.
async fn is_told_to_drain(handle: &ServerHandle) -> bool {
    let is_ready = timeout(Duration::ZERO, handle.stopping()).await.is_ok();
    assert_eq!(is_ready, handle.is_stopping());
    is_ready
}

async fn phases_come_in_order<K: Kind>() {
    let server = in_memory::<K>().await;
    let mut early = server.peer().await;
    patiently(early.is_served()).await;
    assert!(!is_told_to_drain(&server.handle()).await);
    let waiting = tokio::spawn({
        let handle = server.handle();
        async move { handle.stopping().await }
    });
    let stopped = Instant::now();
    server.handle().stop();
    assert!(is_told_to_drain(&server.handle()).await);
    patiently(waiting).await.expect("no panic");
    ended_in_time(stopped, Duration::ZERO);

    // Open connections and new ones are served as before, to the end of the phase.
    tokio::time::sleep(PHASE / 10 * 9).await;
    patiently(early.is_served()).await;
    let mut late = server.peer().await;
    patiently(late.is_served()).await;

    is_drained_from(&mut early, stopped).await;
    is_drained_from(&mut late, stopped).await;
    assert!(server.try_peer().await.is_err());
    assert!(is_told_to_drain(&server.handle()).await);
    drop((early, late));
    let handle = server.handle();
    let report = patiently(server.finished()).await;
    assert_eq!((report.requests.served, report.connections.closed), (3, 2));
    assert!(is_told_to_drain(&handle).await);
}

async fn further_stops_do_not_extend_the_phase<K: Kind>() {
    let server = in_memory::<K>().await;
    let mut peer = server.peer().await;
    let stopped = Instant::now();
    for _ in 0..4 {
        server.handle().stop();
        patiently(peer.is_served()).await;
        tokio::time::sleep(PHASE / 5).await;
    }
    is_drained_from(&mut peer, stopped).await;
    // Nor does one in the drain, or after the end.
    server.handle().stop();
    drop(peer);
    let handle = server.handle();
    assert_eq!(patiently(server.finished()).await.requests.served, 4);
    handle.stop();
}

async fn drain_timeout_begins_after_the_phase<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester)
        .lame_duck(PHASE)
        .drain_timeout(DRAIN);
    let server = start_over(Over::Memory, server).await;
    let (mut early, mut late) = (server.peer().await, server.peer().await);
    patiently(early.send(frame("wait a"))).await;
    patiently(gate.reached()).await;
    let stopped = Instant::now();
    server.handle().stop();
    // A function that begins in the phase is no different.
    patiently(late.send(frame("wait b"))).await;
    patiently(gate.reached()).await;
    for peer in [&mut early, &mut late] {
        patiently(peer.is_told(code::FAILED, "the server ended before the reply")).await;
        ended_between(stopped, PHASE + DRAIN, PHASE + DRAIN);
    }
    let report = patiently(server.finished_after_aborting(2)).await;
    assert_eq!(report.requests.aborted, 2);
}

async fn abort_ends_the_phase<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    let (mut busy, mut idle) = (server.peer().await, server.peer().await);
    patiently(busy.send(frame("wait a"))).await;
    patiently(gate.reached()).await;
    server.handle().stop();
    patiently(idle.is_served()).await;
    let aborted = Instant::now();
    server.handle().abort();
    patiently(busy.is_told(code::FAILED, "the server ended before the reply")).await;
    patiently(idle.is_told(code::GOING_AWAY, STOPPING)).await;
    ended_in_time(aborted, Duration::ZERO);
    let error = patiently(server.result())
        .await
        .expect_err("it was aborted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(error.to_string(), "ended at once; requests aborted: 1");
}

async fn once_server_waits_for_its_request<K: Kind>() {
    let server = OnceServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = server.idle_timeout(None).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    let stopped = Instant::now();
    server.handle().stop();
    // It accepts the next if one ends without a request.
    drop(server.peer().await);
    let mut peer = server.peer().await;
    is_drained_from(&mut peer, stopped).await;
    drop(peer);
    let report = patiently(server.finished()).await;
    assert_eq!(
        (report.requests.received, report.connections.closed),
        (0, 2)
    );
}

async fn once_server_does_not_wait_for_the_end_of_the_phase<K: Kind>() {
    let server = OnceServer::new(tester_of::<K, LengthPrefixed>(&gate())).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    let mut peer = server.peer().await;
    let stopped = Instant::now();
    server.handle().stop();
    patiently(peer.is_served()).await;
    drop(peer);
    assert_eq!(patiently(server.finished()).await.requests.served, 1);
    ended_in_time(stopped, Duration::ZERO);
}

async fn iterative_server_serves_the_next<K: Kind>() {
    let server = IterativeServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = server.idle_timeout(None).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    let mut first = server.peer().await;
    patiently(first.is_served()).await;
    let stopped = Instant::now();
    server.handle().stop();
    let mut second = server.peer().await;
    patiently(first.is_served()).await;
    assert_eq!(server.handle().stats().connections.open, 1);
    drop(first);
    patiently(second.is_served()).await;
    is_drained_from(&mut second, stopped).await;
    drop(second);
    assert_eq!(patiently(server.finished()).await.requests.served, 3);
}

async fn server_without_connectors_does_not_wait_for_the_end_of_the_phase<K: Kind>() {
    for is_stopped in [false, true] {
        let (listener, connector) = memory();
        let bound = concurrent::<K>().listener(listener).bind();
        let bound = bound.await.expect("a listener");
        let handle = bound.handle();
        let server = tokio::spawn(bound.listen());
        let mut peer = RawPeer::over(connector.connect().await.expect("it listens"));
        patiently(peer.is_served()).await;
        if is_stopped {
            handle.stop();
            patiently(peer.is_served()).await;
        }
        // A started frame has a second to complete, so that the drain takes as long.
        patiently(peer.send([&frame("a"), &frame("b")[..3]].concat())).await;
        assert_eq!(patiently(peer.hear()).await, Heard::message("a"));
        let began = Instant::now();
        drop(connector);
        // Whether somebody has stopped it or not, it will not accept again.
        patiently(handle.stopping()).await;
        ended_in_time(began, Duration::ZERO);
        let text = format!("{STOPPING}, and the frame was not complete");
        patiently(peer.is_told(code::GOING_AWAY, &text)).await;
        ended_in_time(began, Duration::from_secs(1));
        drop(peer);
        let report = patiently(server).await.expect("no panic");
        report.expect("a listener may end");
    }
}

async fn stop_before_it_listens_begins_the_phase<K: Kind>() {
    let (listener, connector) = memory();
    let bound = concurrent::<K>().listener(listener).bind();
    let bound = bound.await.expect("a listener");
    bound.handle().stop();
    assert!(is_told_to_drain(&bound.handle()).await);
    tokio::time::sleep(2 * PHASE).await;
    let began = Instant::now();
    let server = tokio::spawn(bound.listen());
    let mut peer = RawPeer::over(connector.connect().await.expect("it listens"));
    patiently(peer.is_served()).await;
    is_drained_from(&mut peer, began).await;
    drop(peer);
    let report = patiently(server).await.expect("no panic");
    assert_eq!(report.expect("it ends well").requests.served, 1);
}

async fn future_that_is_ready_before_it_listens_begins_the_phase<K: Kind>() {
    let (listener, connector) = memory();
    let began = Instant::now();
    let server = concurrent::<K>().listener(listener);
    let server = tokio::spawn(server.listen_until(ready(())));
    let mut peer = RawPeer::over(connector.connect().await.expect("it listens"));
    patiently(peer.is_served()).await;
    is_drained_from(&mut peer, began).await;
    drop(peer);
    let report = patiently(server).await.expect("no panic");
    assert_eq!(report.expect("it ends well").requests.served, 1);
}

/// Stops its server, and replies.
struct Stops<K>(OnceLock<ServerHandle>, PhantomData<fn() -> K>);

impl<K: Kind> ServerProtocol for Stops<K> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> impl Future<Output = Result<String, Rejection>> + Send {
        let stop = move || {
            self.0.get().expect("it is set").stop();
            Act::Return(Ok(request.to_owned()))
        };
        // Not used: the function does not wait there.
        let gate = gate();
        async move { K::process(context.info, &gate, stop).await }
    }
}

async fn function_stops_its_server<K: Kind>() {
    let protocol = Arc::new(Stops::<K>(OnceLock::new(), PhantomData));
    let server = ConcurrentServer::new(Arc::clone(&protocol)).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    protocol.0.set(server.handle()).expect("only here");
    let mut peer = server.peer().await;
    let stopped = Instant::now();
    patiently(peer.is_served()).await;
    assert!(is_told_to_drain(&server.handle()).await);
    patiently(peer.is_served()).await;
    is_drained_from(&mut peer, stopped).await;
    drop(peer);
    assert_eq!(patiently(server.finished()).await.requests.served, 2);
}

async fn handle_of_a_server_that_is_dropped_knows<K: Kind>() {
    let bound = concurrent::<K>().port(0).bind().await.expect("a port");
    let handle = bound.handle();
    assert!(!is_told_to_drain(&handle).await);
    drop(bound);
    assert!(is_told_to_drain(&handle).await);

    let server = start_over(Over::Tcp, concurrent::<K>()).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    let handle = server.handle();
    assert!(!is_told_to_drain(&handle).await);
    server.drop_future();
    within(handle.stopping()).await;
    assert!(is_told_to_drain(&handle).await);
}

fn phase_is_that_of_a_server_on_its_thread_too<K: Kind>() {
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()))
        .lame_duck(LONG)
        .port(0)
        .start()
        .expect("a free port");
    let handle = server.handle();
    assert!(!handle.is_stopping());
    handle.stop();
    assert!(handle.is_stopping());
    let mut peer = TcpStream::connect(server.local_addr()).expect("it listens");
    let limit = Some(Duration::from_secs(20));
    peer.set_read_timeout(limit).expect("a timeout");
    let request = frame("a");
    exchange(&mut peer, &request, request.len());
    handle.abort();
    peer.read_to_end(&mut Vec::new()).expect("an end");
    let error = server.join().expect_err("it was aborted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

async fn start(over: Over, phase: Duration) -> Running {
    let tester = tester::<LengthPrefixed>(&gate());
    start_over(over, ConcurrentServer::new(tester).lame_duck(phase)).await
}

async fn phase_is_over_when_its_time_is(over: Over) {
    const SHORT: Duration = Duration::from_millis(50);
    let server = start(over, SHORT).await;
    let mut peer = within(server.peer()).await;
    patiently(peer.is_served()).await;
    let stopped = std::time::Instant::now();
    server.handle().stop();
    patiently(peer.is_told(code::GOING_AWAY, STOPPING)).await;
    assert!(stopped.elapsed() >= SHORT);
    assert!(within(server.try_peer()).await.is_err());
    drop(peer);
    assert_eq!(within(server.finished()).await.requests.served, 1);
}

/// Stops a server with a long phase, and connects a peer in it.
async fn in_the_phase(over: Over) -> (Running, RawPeer) {
    let server = start(over, LONG).await;
    let mut early = within(server.peer()).await;
    patiently(early.is_served()).await;
    server.handle().stop();
    let mut late = within(server.peer()).await;
    patiently(late.is_served()).await;
    patiently(early.is_served()).await;
    (server, late)
}

async fn peers_are_accepted_until_the_server_is_aborted(over: Over) {
    let (server, mut peer) = in_the_phase(over).await;
    server.handle().abort();
    patiently(peer.is_told(code::GOING_AWAY, STOPPING)).await;
    assert!(within(server.try_peer()).await.is_err());
    let error = within(server.result()).await.expect_err("it was aborted");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

async fn peers_are_accepted_until_the_server_is_dropped(over: Over) {
    let (server, mut peer) = in_the_phase(over).await;
    server.drop_future();
    patiently(peer.is_told(code::GOING_AWAY, STOPPING)).await;
    assert!(within(server.try_peer()).await.is_err());
}
