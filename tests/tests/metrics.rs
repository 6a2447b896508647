//! What servers and channels publish with the feature `metrics`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use tcs::{
    Channel, ConcurrentServer, ConnectionInfo, Peer, Rejection,
    format::{Encode, EncodeError, Json, Plain, Writer},
    framing::{LengthPrefixed, Lines, Multiplexed},
    protocol::{
        Contract, FromContext, Push, PushError, PushOverflow, Pushes, ServerProtocol, Streams,
    },
    server::AtCapacity,
    server_protocol,
    transport::{Handshake, Listener as _, Stream, memory},
};
use tcs_tests::{
    Gate, Tester,
    channel::{call, settle},
    client::hears,
    code, control, frame, gate,
    lasting::lasting,
    patiently, serve_in_memory, start, tester, within,
};
use tokio::{sync::Notify, time::advance};

/// Keeps what is recorded on this thread.
#[derive(Default)]
struct Recorded {
    /// The counters, and the bits of the gauges, as `name{outcome=served}`.
    numbers: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeMap<String, Arc<Values>>>,
}

#[derive(Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().expect("nobody panics").push(value);
    }
}

fn shown(key: &Key) -> String {
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{{{}={}}}", label.key(), label.value()))
        .collect();
    format!("{}{}", key.name(), labels.concat())
}

impl Recorded {
    fn number(&self, key: &Key) -> Arc<AtomicU64> {
        let mut numbers = self.numbers.lock().expect("nobody panics");
        Arc::clone(numbers.entry(shown(key)).or_default())
    }

    fn counter(&self, name: &str) -> u64 {
        let numbers = self.numbers.lock().expect("nobody panics");
        numbers
            .get(name)
            .map_or(0, |number| number.load(Ordering::Relaxed))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "gauges have whole numbers here"
    )]
    fn gauge(&self, name: &str) -> i64 {
        f64::from_bits(self.counter(name)) as i64
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let histograms = self.histograms.lock().expect("nobody panics");
        histograms[name].0.lock().expect("nobody panics").clone()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut histograms = self.histograms.lock().expect("nobody panics");
        Histogram::from_arc(Arc::clone(histograms.entry(shown(key)).or_default()))
    }
}

fn server(gate: &Gate) -> ConcurrentServer<Tester<LengthPrefixed>> {
    ConcurrentServer::new(tester(gate))
}

/// Longer than the interval at which servers publish.
const SOON: Duration = Duration::from_millis(1_001);

#[tokio::test(start_paused = true)]
async fn numbers_of_the_report_are_published_and_those_of_servers_add_up() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let gate = gate();
    let (mut peer, serving) = serve_in_memory(server(&gate), 1 << 10);
    let (other_peer, other_serving) = serve_in_memory(server(&gate), 1 << 10);
    for request in [&b"hello"[..], b"panic p", b"\xff", b"busy b"] {
        within(peer.send(frame(request))).await;
        within(peer.hear()).await;
    }
    within(peer.send(frame(b"wait w"))).await;
    within(gate.reached()).await;
    advance(SOON).await;
    tokio::task::yield_now().await;
    assert_eq!(recorded.gauge("tcs_connections_open"), 2);
    assert_eq!(recorded.gauge("tcs_requests_in_flight"), 1);
    assert_eq!(recorded.counter("tcs_requests_received_total"), 5);

    advance(SOON).await;
    gate.open();
    within(peer.hear()).await;
    drop((peer, other_peer));
    let mut report = within(serving).await.expect("no panic");
    let other = within(other_serving).await.expect("no panic");
    report.requests += other.requests;
    report.connections.accepted += other.connections.accepted;
    report.connections.closed += other.connections.closed;
    assert_eq!(recorded.gauge("tcs_connections_open"), 0);
    assert_eq!(recorded.gauge("tcs_requests_in_flight"), 0);
    for (name, value) in [
        ("tcs_connections_accepted_total", 2),
        (
            "tcs_connections_accepted_total",
            report.connections.accepted,
        ),
        (
            "tcs_connections_ended_total{outcome=closed}",
            report.connections.closed,
        ),
        ("tcs_connections_ended_total{outcome=aborted}", 0),
        ("tcs_requests_received_total", report.requests.received),
        ("tcs_requests_total{outcome=served}", 2),
        ("tcs_requests_total{outcome=served}", report.requests.served),
        ("tcs_requests_total{outcome=failed}", report.requests.failed),
        (
            "tcs_requests_total{outcome=rejected}",
            report.requests.rejected,
        ),
        ("tcs_requests_total{outcome=aborted}", 0),
        ("tcs_received_bytes_total", report.bytes.received),
        ("tcs_sent_bytes_total", report.bytes.sent),
        ("tcs_rejections_total{kind=failed}", 1),
        ("tcs_rejections_total{kind=bad request}", 1),
        ("tcs_rejections_total{kind=busy}", 1),
    ] {
        assert_eq!(recorded.counter(name), value, "{name}");
    }
    // Neither the request that cannot be decoded nor the one that panicked is a call that was answered.
    let durations = recorded.values("tcs_request_duration_seconds");
    assert_eq!(durations.len(), 3, "{durations:?}");
    assert_eq!(recorded.values("tcs_connection_duration_seconds").len(), 2);
    // The one that panicked has waited as well.
    let waits = recorded.values("tcs_queue_duration_seconds");
    assert_eq!(waits.len(), 4, "{waits:?}");
}

/// Pushes each word.
#[server_protocol(push = &str)]
fn tell(text: &str, push: Push<Tell>) -> Result<(), PushError> {
    text.split(' ').try_for_each(|word| push.try_send(word))
}

#[tokio::test(start_paused = true)]
async fn events_that_are_sent_and_dropped_are_published() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let server = ConcurrentServer::new(Tell)
        .max_push_queue(80)
        .push_overflow(PushOverflow::DropOldest);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    // Each counts for 32 bytes and its own, so there is room for two, and the oldest three are dropped.
    within(peer.send(frame(b"one two three four five"))).await;
    within(peer.hear()).await;
    advance(SOON).await;
    tokio::task::yield_now().await;
    let counter = |outcome| recorded.counter(&format!("tcs_events_total{{outcome={outcome}}}"));
    assert_eq!((counter("sent"), counter("dropped")), (2, 3));
    drop(peer);
    let events = within(serving).await.expect("no panic").events;
    assert_eq!((events.sent, events.dropped), (2, 3));
    assert_eq!((counter("sent"), counter("dropped")), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_for_an_earlier_one_is_in_a_queue() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let gate = gate();
    let (mut peer, serving) = serve_in_memory(server(&gate), 1 << 10);
    within(peer.send([frame("wait a"), frame("b")].concat())).await;
    within(gate.reached()).await;
    advance(Duration::from_secs(7)).await;
    gate.open();
    within(peer.hear()).await;
    within(peer.hear()).await;
    drop(peer);
    within(serving).await.expect("no panic");
    let waits = recorded.values("tcs_queue_duration_seconds");
    assert_eq!(waits, [0.0, 7.0]);
}

#[tokio::test(start_paused = true)]
async fn memory_of_large_buffers_is_published() {
    const LENGTH: u32 = 1 << 20;
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let (mut peer, serving) = serve_in_memory(server(&gate()), 1 << 10);
    within(peer.send(LENGTH.to_be_bytes())).await;
    within(peer.send(vec![b'x'; 200_000])).await;
    advance(SOON).await;
    tokio::task::yield_now().await;
    let reserved = recorded.gauge("tcs_buffer_bytes");
    assert!((900_000..1_100_000).contains(&reserved), "{reserved}");
    drop(peer);
    within(serving).await.expect("no panic");
    assert_eq!(recorded.gauge("tcs_buffer_bytes"), 0);
}

#[tokio::test]
async fn rejected_connections_are_counted() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let refuses = server(&gate()).on_accept(|_| Err(Rejection::bad_request("nobody")));
    let full = server(&gate())
        .max_connections(1)
        .at_capacity(AtCapacity::Reject);
    let (refuses, full) = (start(refuses).await, start(full).await);
    drop(within(refuses.peer().await.try_rest()).await);
    let first = full.peer().await;
    drop(within(full.peer().await.try_rest()).await);
    drop(first);
    refuses.stopped().await;
    full.stopped().await;
    for kind in ["going away", "too many connections"] {
        let name = format!("tcs_rejections_total{{kind={kind}}}");
        assert_eq!(recorded.counter(&name), 1, "{name}");
    }
}

#[server_protocol(format = Json)]
mod counter {
    use super::{Busy, set};

    pub fn add(more: u32) -> u32 {
        assert!(more < 9, "on purpose");
        more + 1
    }

    pub async fn reset(how: String) -> String {
        set(&how).await
    }

    pub async fn lock(#[context] _busy: Busy) {}
}

/// The same, side by side.
#[server_protocol(format = Json, concurrent = 2)]
mod beside {
    use super::{Busy, counter, set};

    pub async fn add(more: u32) -> u32 {
        counter::add(more)
    }

    pub async fn reset(how: String) -> String {
        set(&how).await
    }

    pub async fn lock(#[context] _busy: Busy) {}
}

/// Rejects each request.
struct Busy;

impl FromContext<'_> for Busy {
    fn from_context(_info: &ConnectionInfo) -> Result<Self, Rejection> {
        Err(Rejection::busy("on purpose"))
    }
}

/// Returns what is too long for a reply, or nothing, or waits.
async fn set(how: &str) -> String {
    match how {
        "wait" => std::future::pending().await,
        "fail" => "x".repeat(101),
        _ => String::new(),
    }
}

#[tokio::test]
async fn calls_and_durations_of_operations_have_their_names_and_outcomes() {
    are_recorded(counter::Protocol).await;
    are_recorded(beside::Protocol).await;
}

async fn are_recorded(protocol: impl ServerProtocol) {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let server = ConcurrentServer::new(protocol)
        .half_close_timeout(Duration::from_millis(1))
        .max_reply_len(100);
    let (mut peer, serving) = serve_in_memory(server, 1 << 10);
    for more in [1, 2, 9] {
        within(peer.ask(&format!(r#"{{"add":{{"more":{more}}}}}"#))).await;
    }
    for how in ["", "fail"] {
        within(peer.ask(&format!(r#"{{"reset":{{"how":"{how}"}}}}"#))).await;
    }
    within(peer.ask(r#"{"lock":{}}"#)).await;
    within(peer.send(frame(r#"{"reset":{"how":"wait"}}"#))).await;
    within(peer.finish()).await;
    within(peer.rest()).await;
    within(serving).await.expect("no panic");
    for (operation, count, calls) in [
        ("add", 2, [2, 0, 0, 1, 0]),
        ("reset", 3, [1, 1, 0, 0, 1]),
        ("lock", 1, [0, 0, 1, 0, 0]),
    ] {
        let name = format!("tcs_request_duration_seconds{{operation={operation}}}");
        assert_eq!(recorded.values(&name).len(), count, "{name}");
        let outcomes = ["served", "failed", "rejected", "panicked", "dropped"];
        let recorded = outcomes.map(|outcome| {
            let name = format!("tcs_calls_total{{operation={operation}}}{{outcome={outcome}}}");
            recorded.counter(&name)
        });
        assert_eq!(recorded, calls, "{operation}");
    }
}

#[server_protocol(framing = Lines)]
fn two_lines(_name: &str) -> &'static str {
    "one\ntwo"
}

/// The same, side by side.
#[server_protocol(framing = Lines, concurrent = 2)]
async fn two_lines_beside(_name: &str) -> &'static str {
    "one\ntwo"
}

#[tokio::test]
async fn request_whose_reply_the_framing_cannot_carry_has_failed() {
    fails(TwoLines, "failed").await;
    // Its reply is framed when it is its turn, and the call is recorded before.
    fails(TwoLinesBeside, "served").await;
}

/// Asserts that a request fails, and the outcome of its call.
async fn fails(protocol: impl ServerProtocol, call: &str) {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(protocol), 1 << 10);
    within(peer.send("name\n")).await;
    within(peer.rest()).await;
    let report = within(serving).await.expect("no panic");
    assert_eq!((report.requests.failed, report.requests.served), (1, 0));
    for outcome in ["served", "failed", "rejected", "panicked", "dropped"] {
        let name = format!("tcs_calls_total{{outcome={outcome}}}");
        let expected = u64::from(outcome == call);
        assert_eq!(recorded.counter(&name), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_is_dropped_has_no_open_connections() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let (mut peer, serving) = serve_in_memory(server(&gate()), 1 << 10);
    within(peer.send(frame(b"hello"))).await;
    within(peer.hear()).await;
    advance(SOON).await;
    tokio::task::yield_now().await;
    assert_eq!(recorded.gauge("tcs_connections_open"), 1);
    serving.abort();
    within(serving).await.expect_err("it was dropped");
    assert_eq!(recorded.gauge("tcs_connections_open"), 0);
    assert_eq!(recorded.counter("tcs_requests_total{outcome=served}"), 1);
}

#[tokio::test(start_paused = true)]
async fn numbers_of_channels_are_published_and_add_up() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let check = |open, [connected, failed_connects, lost, answered, failed, retries]: [u64; 6]| {
        assert_eq!(recorded.gauge("tcs_client_connections_open"), open);
        for (name, value) in [
            ("tcs_client_connects_total{outcome=connected}", connected),
            ("tcs_client_connects_total{outcome=failed}", failed_connects),
            ("tcs_client_connections_lost_total", lost),
            ("tcs_client_calls_total{outcome=answered}", answered),
            ("tcs_client_calls_total{outcome=failed}", failed),
            ("tcs_client_retries_total", retries),
        ] {
            assert_eq!(recorded.counter(name), value, "{name}");
        }
        // Only calls that were answered have a duration.
        let durations = recorded.values("tcs_client_call_duration_seconds");
        assert_eq!(durations.len(), usize::try_from(answered).expect("few"));
    };
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    check(0, [0; 6]);

    // An attempt fails, and the next one does not.
    let first = call(&channel, "a");
    attempts.attempt().await.refuse();
    settle().await;
    check(0, [0, 1, 0, 0, 0, 0]);
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "a");
    assert_eq!(first.reply().await, "a");
    check(1, [1, 1, 0, 1, 0, 0]);

    // A request that is rejected is sent again, and is one call.
    let second = call(&channel, "b");
    hears(&mut peer, "b").await;
    patiently(peer.send(control(code::BUSY, ""))).await;
    assert_eq!(patiently(peer.ask_back()).await, "b");
    assert_eq!(second.reply().await, "b");
    check(1, [1, 1, 0, 2, 0, 1]);

    // The connection is lost with a call in flight.
    let third = call(&channel, "c");
    hears(&mut peer, "c").await;
    drop(peer);
    third.error().await;
    settle().await;
    check(0, [1, 1, 1, 2, 1, 1]);

    // Those of another channel are added. The end of an idle connection is no loss.
    let (options, mut attempts) = lasting();
    let other: Channel = options.connect_lazily().expect("good options");
    let fourth = call(&other, "d");
    let mut peer = attempts.accept().await;
    assert_eq!(patiently(peer.ask_back()).await, "d");
    assert_eq!(fourth.reply().await, "d");
    check(1, [2, 1, 1, 3, 1, 1]);
    drop(peer);
    settle().await;
    check(0, [2, 1, 1, 3, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn retries_that_the_budget_refuses_are_published() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let (options, mut attempts) = lasting();
    let channel: Channel = options.connect_lazily().expect("good options");
    let calls: Vec<_> = (0..150).map(|_| call(&channel, "a")).collect();
    let mut peer = attempts.accept().await;
    let server = async {
        loop {
            hears(&mut peer, "a").await;
            patiently(peer.send(control(code::BUSY, ""))).await;
        }
    };
    let outcomes = async {
        for call in calls {
            call.outcome().await.expect_err("it is busy");
        }
    };
    tokio::select! {
        () = server => {}
        () = outcomes => {}
    }
    let refused = channel.state().retries_refused;
    assert!(refused > 0);
    let name = "tcs_client_retries_refused_total";
    assert_eq!(recorded.counter(name), refused);
}

/// A request that cannot be encoded.
#[derive(Debug)]
struct Unwritable;

impl<Format> Encode<Format> for Unwritable {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Err(EncodeError::new("on purpose"))
    }
}

/// Such requests, and streamed replies.
#[derive(Debug)]
enum Unencodable {}

impl Contract for Unencodable {
    type Framing = Multiplexed;
    type Format = Plain;
    type Request<'a> = Unwritable;
    type Reply<'a> = String;
}

impl Streams for Unencodable {
    type Format = Plain;
    type Item<'a> = &'a str;
}

impl Pushes for Unencodable {
    type Format = Plain;
    type Event<'a> = &'a str;
}

/// Texts, and streams of texts.
#[derive(Debug)]
enum Texts {}

impl Contract for Texts {
    type Framing = Multiplexed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

impl Streams for Texts {
    type Format = Plain;
    type Item<'a> = &'a str;
}

#[tokio::test(start_paused = true)]
async fn failures_of_streams_and_before_a_request_are_counted() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let failed = || recorded.counter("tcs_client_calls_total{outcome=failed}");
    let (options, mut attempts) = lasting::<Multiplexed>();
    let channel = options.connect_lazily().expect("good options");
    let hedged = channel.idempotent().hedge(SOON);
    within(hedged.call::<Unencodable>(Unwritable))
        .await
        .expect_err("no request");
    assert_eq!(failed(), 1);
    let late = channel.deadline(SOON);
    patiently(late.stream::<Texts>("a"))
        .await
        .expect_err("no connection");
    assert_eq!(failed(), 2);
    let _peer = attempts.accept().await;
    settle().await;
    within(channel.stream::<Unencodable>(Unwritable))
        .await
        .expect_err("no request");
    assert_eq!(failed(), 3);
    let mut stream = within(late.stream::<Texts>("b")).await.expect("it is sent");
    patiently(stream.next()).await.expect_err("no item in time");
    assert_eq!(failed(), 4);
    drop(stream);
    assert_eq!(failed(), 4);
    let subscribed = within(channel.subscribe::<Unencodable>(Unwritable)).await;
    subscribed.expect_err("no request");
    assert_eq!(failed(), 5);
}

#[tokio::test(start_paused = true)]
async fn handshake_that_the_server_ends_has_not_failed() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let ((listener, connector), began) = (memory(), Arc::new(Notify::new()));
    let listener = listener.with_handshake(Stalls(Arc::clone(&began)));
    let bound = server(&gate()).listener(listener).bind().await;
    let bound = bound.expect("good settings");
    let (handle, serving) = (bound.handle(), tokio::spawn(bound.listen()));
    let _peer = patiently(connector.connect()).await.expect("it listens");
    patiently(began.notified()).await;
    handle.stop();
    let stopped = patiently(serving).await.expect("no panic");
    stopped.expect("it was stopped");
    assert_eq!(recorded.counter("tcs_handshakes_failed_total"), 0);
}

#[tokio::test]
async fn each_metric_is_documented() {
    let recorded = Recorded::default();
    let _recording = set_default_local_recorder(&recorded);
    let _channel: Channel = lasting().0.connect_lazily().expect("good options");
    let served = start(server(&gate()).handshake(Fails)).await;
    drop(within(served.peer().await.try_rest()).await);
    served.stopped().await;
    let (mut peer, serving) = serve_in_memory(server(&gate()), 1 << 10);
    within(peer.send(frame(b"busy b"))).await;
    within(peer.hear()).await;
    drop(peer);
    within(serving).await.expect("no panic");
    let documented = concat!(
        include_str!("../../tcs/src/server/mod.rs"),
        include_str!("../../tcs/src/client/mod.rs")
    );
    let numbers = recorded.numbers.lock().expect("nobody panics");
    let histograms = recorded.histograms.lock().expect("nobody panics");
    let names = numbers.keys().chain(histograms.keys());
    let names: BTreeSet<_> = names.filter_map(|name| name.split('{').next()).collect();
    let rows = documented.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("//! | `tcs_")?.split_once('`')?;
        Some(format!("tcs_{name}"))
    });
    assert!(names.into_iter().eq(rows.collect::<BTreeSet<_>>()));
}

/// A handshake that says when it begins, and does not end.
struct Stalls(Arc<Notify>);

impl Handshake for Stalls {
    async fn perform(&self, _stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// A handshake that fails.
struct Fails;

impl Handshake for Fails {
    async fn perform(&self, _stream: Stream, _peer: &mut Peer) -> io::Result<Stream> {
        Err(io::Error::other("on purpose"))
    }
}
