//! What becomes of functions whose peers hang up, wholly or half.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::LengthPrefixed,
    protocol::{Context, ServerProtocol},
};
use tcs_tests::{
    Act, Gate, Heard, Kind, Over, RawPeer, Running, code, each_kind, ended_in_time, frame, gate,
    patiently, serve_in_memory, stage,
    stage::{BlockingHold, ReadyHold, SilentHold, Stage, SyncHold, WaitingHold, holds},
    start, start_over, tester_of, within,
};
use tokio::time::{Instant, timeout};

each_kind!(over_each: requests_before_a_half_close_are_all_answered);
each_kind!(
    [ready_async, waiting, blocking] over_each:
    requests_before_a_half_close_are_all_answered_although_the_first_waits,
);
each_kind!(
    [ready_async, waiting] paused:
    function_has_its_time_when_the_peer_has_closed_its_half,
    function_has_half_a_minute_when_the_peer_has_closed_its_half,
    function_that_has_waited_already_has_its_time_from_the_half_close_on,
    half_close_without_a_limit_leaves_the_function_its_time,
    panicking_drop_at_the_end_of_the_half_close_timeout_is_the_last,
    panicking_drop_for_a_peer_that_does_not_read_is_the_last,
);
each_kind!(
    [ready_async, waiting] over_each:
    panicking_drop_at_a_half_close_that_ends_the_connection_is_the_last,
);
each_kind!(
    [ready_async, waiting]
    panicking_drop_after_a_reset_is_the_last,
    panicking_drop_at_an_abort_is_the_last,
);

/// What a function's kind makes of a reset.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// It is dropped where it waits.
    Dropped,
    /// Nothing can drop it.
    ByItself,
    /// Nothing can drop it, and it returns without a reply.
    WithoutReply,
}

/// What becomes of a function whose peer resets the connection.
struct Expected {
    /// How often it comes to its end.
    returned: usize,
    /// How many of its replies count as served.
    served: u64,
}

impl Ends {
    fn expected(self) -> Expected {
        match self {
            Self::Dropped => Expected {
                returned: 0,
                served: 0,
            },
            Self::ByItself => Expected {
                returned: 1,
                served: 0,
            },
            Self::WithoutReply => Expected {
                returned: 1,
                served: 1,
            },
        }
    }
}

/// Asks `hold` fifteen times, resets the connection while the first is held, and asks `pass` with another.
async fn ends_with_its_peer<P>(
    protocol: impl FnOnce(Stage) -> P,
    ends: Ends,
    [hold, pass, passed]: [&str; 3],
) where
    P: ServerProtocol<Framing = LengthPrefixed>,
{
    let stage = stage::stage();
    let server = start(ConcurrentServer::new(protocol(stage.clone())).max_connections(1)).await;
    is_reset_at_the_first_of(&stage, &server, frame(hold.as_bytes()).repeat(15), ends).await;
    within(stage.gone()).await;
    // The place of the first is free, and nothing is in it.
    let mut next = server.peer().await;
    assert_eq!(within(next.ask(pass)).await, Heard::message(passed));
    let Expected { returned, served } = ends.expected();
    assert_eq!((stage.begun(), stage.returned()), (1 + 1, returned + 1));
    drop(next);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (served + 1, 0));
}

/// Sends `requests`, and resets the connection while the first `hold` among them is held.
async fn is_reset_at_the_first_of(stage: &Stage, server: &Running, requests: Vec<u8>, ends: Ends) {
    let mut gone = server.peer().await;
    within(gone.send(requests)).await;
    within(stage.gate.reached()).await;
    gone.reset();
    if ends != Ends::Dropped {
        for _ in 0..15 {
            stage.gate.open();
        }
    }
}

/// How many requests are begun between two looks at the clock, at most, if those before were cheap.
const STRIDE: usize = 9;

/// Asks `pass` often enough that the clock is read as seldom as it can be, and then as
/// [`ends_with_its_peer`] does.
async fn ends_with_its_peer_after_cheap_ones<P>(
    protocol: impl FnOnce(Stage) -> P,
    ends: Ends,
    [hold, pass, passed]: [&str; 3],
) where
    P: ServerProtocol<Framing = LengthPrefixed>,
{
    const CHEAP: usize = 200;
    // Less than what a held function takes, and enough for the others to be cheap without optimization.
    const BUDGET: Duration = Duration::from_millis(10);
    let stage = stage::stage();
    let server = ConcurrentServer::new(protocol(stage.clone()))
        .max_connections(1)
        .poll_budget(BUDGET);
    let server = start(server).await;
    let cheap = frame(pass.as_bytes()).repeat(CHEAP);
    let requests = [cheap, frame(hold.as_bytes()).repeat(15)].concat();
    is_reset_at_the_first_of(&stage, &server, requests, ends).await;
    let mut next = server.peer().await;
    assert_eq!(within(next.ask(pass)).await, Heard::message(passed));
    // A function that waits is polled together with its peer, so nothing is begun after it.
    let more = if P::WAITS { 0 } else { STRIDE - 1 };
    let begun = stage.begun() - CHEAP - 1;
    assert!((1..=1 + more).contains(&begun), "{begun} were begun");
}

const TEXTS: [&str; 3] = ["hold", "pass", "pass"];

fn of_a_module(hold: &str) -> [&str; 3] {
    [hold, r#"{"pass":{}}"#, r#"{"pass":null}"#]
}

/// Runs a function, which takes a protocol, how it ends and its texts, as a test for each kind of function,
/// and for those of a module.
macro_rules! each_hold {
    ($($test:ident: $function:ident),+ $(,)?) => {$(
        mod $test {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sync() {
                $function(SyncHold::new, Ends::ByItself, TEXTS).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sync_without_replies() {
                $function(SilentHold::new, Ends::WithoutReply, TEXTS).await;
            }

            #[tokio::test]
            async fn ready_async() {
                $function(ReadyHold::new, Ends::Dropped, TEXTS).await;
            }

            #[tokio::test]
            async fn waiting() {
                $function(WaitingHold::new, Ends::Dropped, TEXTS).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn blocking() {
                $function(BlockingHold::new, Ends::ByItself, TEXTS).await;
            }

            #[tokio::test]
            async fn ready_async_of_a_module() {
                let texts = of_a_module(r#"{"hold":{}}"#);
                $function(holds::Protocol::new, Ends::Dropped, texts).await;
            }

            #[tokio::test]
            async fn waiting_of_a_module() {
                let texts = of_a_module(r#"{"hold_later":{}}"#);
                $function(holds::Protocol::new, Ends::Dropped, texts).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn blocking_of_a_module() {
                let texts = of_a_module(r#"{"block":{}}"#);
                $function(holds::Protocol::new, Ends::ByItself, texts).await;
            }
        }
    )+};
}

each_hold!(
    nothing_goes_on_behind_a_reset: ends_with_its_peer,
    nothing_goes_on_behind_a_reset_after_cheap_requests: ends_with_its_peer_after_cheap_ones,
);

async fn requests_before_a_half_close_are_all_answered<K: Kind>(over: Over) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    let requests = frame(b"request").repeat(200);
    within(peer.send(&requests)).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, requests);
    assert_eq!(server.stopped().await.requests.served, 200);
}

async fn requests_before_a_half_close_are_all_answered_although_the_first_waits<K: Kind>(
    over: Over,
) {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait reply").repeat(15))).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    for _ in 0..15 {
        gate.open();
    }
    assert_eq!(within(peer.rest()).await, frame(b"reply").repeat(15));
    assert_eq!(server.stopped().await.requests.served, 15);
}

/// Fails unless a request is answered *timed out*, and nothing but the end comes after that.
async fn hears_that_its_time_is_over(peer: &mut RawPeer, limit: &str) {
    let answer = timeout(Duration::from_mins(2), peer.hear()).await;
    let Heard::Control(code::TIMED_OUT, text) = answer.expect("an answer in time") else {
        panic!("the request is not answered by *timed out*");
    };
    assert!(
        text.contains("half_close_timeout") && text.contains(limit),
        "{text}"
    );
    // What was not answered before was not executed.
    assert_eq!(patiently(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(patiently(peer.hear()).await, Heard::End);
}

async fn function_has_its_time_when_the_peer_has_closed_its_half<K: Kind>() {
    let (gate, limit) = (gate(), Duration::from_secs(7));
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).half_close_timeout(limit);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send([frame(b"first"), frame(b"wait").repeat(3)].concat())).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("first"));
    patiently(gate.reached()).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    hears_that_its_time_is_over(&mut peer, "7s").await;
    ended_in_time(began, limit);
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!((requests.served, requests.failed), (1, 1));
    assert!(!gate.was_reached(), "a request behind it was begun");
}

async fn function_has_half_a_minute_when_the_peer_has_closed_its_half<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(tester), 1 << 16);
    patiently(peer.send(frame(b"wait"))).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    hears_that_its_time_is_over(&mut peer, "30s").await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.failed,
        1
    );
}

async fn function_that_has_waited_already_has_its_time_from_the_half_close_on<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(tester), 1 << 16);
    patiently(peer.send(frame(b"wait"))).await;
    patiently(gate.reached()).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(29)).await;
    hears_that_its_time_is_over(&mut peer, "30s").await;
    ended_in_time(began, Duration::from_secs(30));
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.failed,
        1
    );
}

async fn half_close_without_a_limit_leaves_the_function_its_time<K: Kind>() {
    let gate = gate();
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = ConcurrentServer::new(tester).half_close_timeout(None);
    let (mut peer, serving) = serve_in_memory(server, 1 << 16);
    patiently(peer.send([frame(b"wait one"), frame(b"two")].concat())).await;
    patiently(gate.reached()).await;
    patiently(peer.finish()).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    gate.open();
    assert_eq!(patiently(peer.hear()).await, Heard::message("one"));
    assert_eq!(patiently(peer.hear()).await, Heard::message("two"));
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        2
    );
}

/// Echoes. `wait` holds a value at the gate whose drop panics, and `size` has a reply of 1,000 bytes.
struct Brittle<K, const ENDS: bool = false> {
    gate: Gate,
    begun: Arc<AtomicUsize>,
    kind: PhantomData<fn() -> K>,
}

/// Panics when it is dropped, unless there was a panic already.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "on purpose");
    }
}

impl<K, const ENDS: bool> Brittle<K, ENDS> {
    fn new(gate: &Gate) -> Self {
        Self {
            gate: gate.clone(),
            begun: Arc::default(),
            kind: PhantomData,
        }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl<K: Kind, const ENDS: bool> ServerProtocol for Brittle<K, ENDS> {
    type Framing = LengthPrefixed;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    const ENDS_AT_HALF_CLOSE: bool = ENDS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> Result<String, Rejection> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _held = (request == "wait").then(|| Fragile);
        let reply = K::process(context.info, &self.gate, || match request {
            "wait" => Act::Wait(String::new()),
            "size" => Act::Return("x".repeat(1_000)),
            other => Act::Return(other.to_owned()),
        });
        Ok(reply.await)
    }
}

async fn panicking_drop_after_a_reset_is_the_last<K: Kind>() {
    let gate = gate();
    let protocol = Arc::new(Brittle::<K>::new(&gate));
    let server = start(ConcurrentServer::new(protocol.clone()).max_connections(1)).await;
    let mut gone = server.peer().await;
    within(gone.send([frame(b"wait"), frame(b"transfer")].concat())).await;
    within(gate.reached()).await;
    gone.reset();
    // The place of the first is free, and nothing is in it.
    let mut next = server.peer().await;
    assert_eq!(within(next.ask("pass")).await, Heard::message("pass"));
    assert_eq!(protocol.begun(), 2, "the transfer was begun");
    drop(next);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 0));
}

async fn panicking_drop_at_an_abort_is_the_last<K: Kind>() {
    let gate = gate();
    let protocol = Arc::new(Brittle::<K>::new(&gate));
    let server = ConcurrentServer::new(protocol.clone()).drain_timeout(Duration::from_millis(50));
    let server = start(server).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait"), frame(b"transfer")].concat())).await;
    within(gate.reached()).await;
    server.handle().stop();
    let report = server.finished_after_aborting(1).await;
    assert_eq!(protocol.begun(), 1, "the transfer was begun");
    assert_eq!(report.requests.aborted, 1);
    drop(peer);
}

async fn panicking_drop_at_a_half_close_that_ends_the_connection_is_the_last<K: Kind>(over: Over) {
    let gate = gate();
    let protocol = Arc::new(Brittle::<K, true>::new(&gate));
    let server = start_over(over, ConcurrentServer::new(protocol.clone())).await;
    let mut peer = server.peer().await;
    within(peer.send([frame(b"wait"), frame(b"transfer")].concat())).await;
    within(gate.reached()).await;
    within(peer.finish()).await;
    within(peer.dropped()).await;
    let requests = server.stopped().await.requests;
    assert_eq!(protocol.begun(), 1, "the transfer was begun");
    assert_eq!((requests.received, requests.aborted), (1, 1));
}

async fn panicking_drop_at_the_end_of_the_half_close_timeout_is_the_last<K: Kind>() {
    let gate = gate();
    let protocol = Arc::new(Brittle::<K>::new(&gate));
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol.clone()), 1 << 16);
    patiently(peer.send([frame(b"wait"), frame(b"transfer")].concat())).await;
    patiently(peer.finish()).await;
    assert_eq!(patiently(peer.rest()).await, b"");
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!(protocol.begun(), 1, "the transfer was begun");
    assert_eq!((requests.received, requests.aborted), (1, 1));
}

async fn panicking_drop_for_a_peer_that_does_not_read_is_the_last<K: Kind>() {
    let gate = gate();
    let protocol = Arc::new(Brittle::<K>::new(&gate));
    // Both are processed in one poll, however slow the machine is.
    let server = ConcurrentServer::new(protocol.clone()).poll_budget(Duration::MAX);
    let (mut peer, serving) = serve_in_memory(server, 64);
    let requests = [frame(b"size"), frame(b"wait"), frame(b"transfer")];
    patiently(peer.send(requests.concat())).await;
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!(protocol.begun(), 2, "the transfer was begun");
    assert_eq!((requests.received, requests.aborted), (2, 2));
}
