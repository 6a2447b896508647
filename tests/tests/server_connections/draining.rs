//! A function that asks for `Draining` knows when its connection is to end, whatever polls it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::{Json, Plain},
    framing::LengthPrefixed,
    protocol::{Context as RequestContext, Draining, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Act, Gate, Heard, Kind, LONG, Over, RawPeer, Running, code, each_kind, ended_between,
    ended_in_time, frame, gate, over_each, patiently, serve_in_memory, start, start_over, within,
};
use tokio::time::{Instant, timeout};

each_kind!(function_knows_whether_its_connection_drains);
over_each!(function_that_waits_ends_when_the_server_drains);

/// How a function waits, as its requests say.
const WAYS: [&str; 4] = ["await", "timeout", "copies", "alone"];

/// Waits in one of the [`WAYS`].
#[server_protocol]
async fn wait(way: &str, #[state] gate: &Gate, draining: Draining<'_>) -> &'static str {
    let waiting = async {
        match way {
            "await" => draining.await,
            "timeout" => timeout(LONG, draining).await.expect("not for so long"),
            "copies" => {
                for _ in 0..2 {
                    tokio::join!(draining, draining);
                }
            }
            _ => Alone::new(draining.into_future()).await,
        }
    };
    let is_early = draining.is_draining();
    tokio::select! {
        // First, so that the test knows of a function only when it waits for both.
        biased;
        () = waiting => {}
        () = gate.pass() => return "passed",
    }
    match (is_early, draining.is_draining()) {
        (false, true) => "drained",
        _ => "it should not drain before, and not stop draining",
    }
}

/// A future that is polled only when its own waker was woken, as by `FuturesUnordered`.
struct Alone<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

struct Woken {
    is_woken: AtomicBool,
    parent: Mutex<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.parent.lock().expect("no panic").wake_by_ref();
    }
}

impl<F> Alone<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            woken: Arc::new(Woken {
                is_woken: AtomicBool::new(true),
                parent: Mutex::new(Waker::noop().clone()),
            }),
        }
    }
}

impl<F: Future> Future for Alone<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.woken
            .parent
            .lock()
            .expect("no panic")
            .clone_from(cx.waker());
        if !self.woken.is_woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let waker = Arc::clone(&self.woken).into();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Connects a peer whose function waits in this way.
async fn waits(server: &Running, gate: &Gate, way: &str) -> RawPeer {
    let mut peer = within(server.peer()).await;
    within(peer.send(frame(way))).await;
    within(gate.reached()).await;
    peer
}

async fn function_that_waits_ends_when_the_server_drains(over: Over) {
    let gate = gate();
    let server = start_over(over, ConcurrentServer::new(Wait { gate: gate.clone() })).await;
    let mut peers = Vec::new();
    for way in WAYS {
        peers.push(waits(&server, &gate, way).await);
    }
    server.handle().stop();
    for peer in &mut peers {
        assert_eq!(within(peer.hear()).await, Heard::message("drained"));
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
        assert_eq!(within(peer.hear()).await, Heard::End);
    }
    drop(peers);
    assert_eq!(within(server.finished()).await.requests.served, 4);
}

#[tokio::test(start_paused = true)]
async fn function_goes_on_in_the_lame_duck_phase() {
    const PHASE: Duration = Duration::from_secs(100);
    let gate = gate();
    let server = ConcurrentServer::new(Wait { gate: gate.clone() }).lame_duck(PHASE);
    let server = start_over(Over::Memory, server).await;
    let mut early = waits(&server, &gate, "alone").await;
    let stopped = Instant::now();
    server.handle().stop();
    let mut late = waits(&server, &gate, "await").await;
    for peer in [&mut early, &mut late] {
        assert_eq!(patiently(peer.hear()).await, Heard::message("drained"));
        ended_in_time(stopped, PHASE);
    }
    drop((early, late));
    assert_eq!(patiently(server.finished()).await.requests.served, 2);
}

const AGE: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn function_that_waits_ends_at_the_age_of_its_connection() {
    for way in WAYS {
        let gate = gate();
        let server = ConcurrentServer::new(Wait { gate }).max_connection_age(AGE);
        let began = Instant::now();
        let (mut peer, serving) = serve_in_memory(server, 1 << 16);
        patiently(peer.send(frame(way))).await;
        assert_eq!(patiently(peer.hear()).await, Heard::message("drained"));
        ended_between(began, AGE, AGE + AGE / 10);
        assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
        drop(peer);
        let report = patiently(serving).await.expect("no panic");
        assert_eq!(report.requests.served, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn younger_connections_do_not_end_with_older_ones() {
    let gate = gate();
    let server = ConcurrentServer::new(Wait { gate: gate.clone() }).max_connection_age(AGE);
    let server = start_over(Over::Memory, server).await;
    let mut peers = Vec::new();
    for way in WAYS {
        peers.push((Instant::now(), waits(&server, &gate, way).await));
        tokio::time::sleep(AGE / 5).await;
    }
    for (began, peer) in &mut peers {
        assert_eq!(patiently(peer.hear()).await, Heard::message("drained"));
        ended_between(*began, AGE, AGE + AGE / 10);
    }
    drop(peers);
    server.handle().stop();
    assert_eq!(patiently(server.finished()).await.requests.served, 4);
}

/// Replies whether its connection drains.
struct Asks<K>(std::marker::PhantomData<fn() -> K>);

impl<K: Kind> ServerProtocol for Asks<K> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn process_request<'a>(
        &'a self,
        context: RequestContext<'a, ()>,
        _request: &'a str,
    ) -> impl Future<Output = Result<String, Rejection>> + Send {
        let info = context.info;
        // Not used: the function does not wait there.
        let gate = gate();
        async move {
            let ask = || Act::Return(Ok(info.draining().is_draining().to_string()));
            K::process(info, &gate, ask).await
        }
    }
}

async fn function_knows_whether_its_connection_drains<K: Kind>() {
    let protocol = Asks::<K>(std::marker::PhantomData);
    let server = start(ConcurrentServer::new(protocol)).await;
    let (mut idle, mut peer) = (server.peer().await, server.peer().await);
    assert_eq!(within(idle.ask("a")).await, Heard::message("false"));
    // A frame that has started may be completed in a drain.
    let started = frame("b");
    within(peer.send([&frame("a"), &started[..3]].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("false"));
    server.handle().stop();
    assert_eq!(within(idle.hear()).await.kind(), code::GOING_AWAY);
    within(peer.send(&started[3..])).await;
    assert_eq!(within(peer.hear()).await, Heard::message("true"));
    drop((idle, peer));
    assert_eq!(within(server.finished()).await.requests.served, 3);
}

/// Computes until its connection drains.
#[server_protocol(blocking)]
fn compute(_request: &str, #[state] gate: &Gate, draining: Draining<'_>) -> &'static str {
    gate.block();
    while !draining.is_draining() {
        thread::yield_now();
    }
    gate.block();
    "drained"
}

/// Starts a server whose function computes.
async fn computing() -> (Running, RawPeer, Gate) {
    let gate = gate();
    // The gate only counts.
    gate.open();
    gate.open();
    let server = ConcurrentServer::new(Compute { gate: gate.clone() });
    let server = start(server).await;
    let peer = waits(&server, &gate, "a").await;
    (server, peer, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_that_blocks_ends_when_the_server_drains() {
    let (server, mut peer, _gate) = computing().await;
    server.handle().stop();
    assert_eq!(within(peer.hear()).await, Heard::message("drained"));
    drop(peer);
    assert_eq!(within(server.finished()).await.requests.served, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_that_blocks_ends_when_the_server_is_aborted_or_dropped() {
    let (server, peer, gate) = computing().await;
    server.handle().abort();
    within(gate.reached()).await;
    drop((server, peer));
    let (server, _peer, gate) = computing().await;
    server.drop_future();
    within(gate.reached()).await;
}

/// Operations take it as well.
#[server_protocol(format = Json)]
mod operations {
    use super::{Draining, Gate};

    pub async fn next(#[state] gate: &Gate, #[context] draining: Draining<'_>) -> bool {
        tokio::select! {
            () = draining => true,
            () = gate.pass() => false,
        }
    }
}

#[tokio::test]
async fn operation_that_waits_ends_when_the_server_drains() {
    let gate = gate();
    let protocol = operations::Protocol { gate: gate.clone() };
    let server = start_over(Over::Memory, ConcurrentServer::new(protocol)).await;
    let mut peer = waits(&server, &gate, r#"{"next":{}}"#).await;
    server.handle().stop();
    let reply = Heard::message(r#"{"next":true}"#);
    assert_eq!(within(peer.hear()).await, reply);
    drop(peer);
    assert_eq!(within(server.finished()).await.requests.served, 1);
}

#[test]
fn connection_without_a_server_does_not_drain() {
    let info = ConnectionInfo::new(Peer::unnamed());
    let mut waiting = info.draining().into_future();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    assert!(!info.draining().is_draining());
}
