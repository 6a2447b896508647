//! What the three servers promise about how long and how many at a time they serve.

use std::{io::Read as _, net::Shutdown, thread, time::Duration};

use tcs::{
    ConcurrentServer, IterativeServer, OnceServer, Peer,
    framing::{LengthPrefixed, Raw},
    server_protocol,
};
use tcs_tests::{
    Count, Gate, Heard, Kind, RawPeer, Running, Tester, code, each_kind, frame, gate, own_ip,
    start, tester, tester_of,
    threads::{apart, exchange},
    within,
};
use tokio::join;

each_kind!(
    once_answers_one_request_and_returns,
    once_ignores_connections_that_end_before_a_request_byte,
    once_ignores_connections_that_stay_idle,
    once_executes_no_second_request,
    once_returns_when_its_request_is_rejected_or_fails,
    once_answers_one_request_over_any_stream,
    iterative_serves_the_second_although_the_first_sits_idle,
    raw_has_one_exchange_per_connection,
    raw_request_that_fills_the_buffer_exactly_is_answered,
);
each_kind!(no_runtime: next_connection_is_accepted_only_when_the_last_is_closed);
each_kind!(
    [ready_async, waiting, blocking]
    once_has_closed_its_listener_when_the_request_is_taken,
    iterative_does_not_answer_the_second_before_the_first_is_done,
    concurrent_answers_both,
    connections_beyond_the_cap_wait_in_the_backlog,
);

fn prefixed<K: Kind>(gate: &Gate) -> Tester<LengthPrefixed, (), K> {
    tester_of(gate)
}

async fn once_answers_one_request_and_returns<K: Kind>() {
    let server = start(OnceServer::new(prefixed::<K>(&gate()))).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("hello")).await, Heard::message("hello"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let report = server.finished().await;
    assert_eq!((report.requests.served, report.connections.closed), (1, 1));
}

async fn once_ignores_connections_that_end_before_a_request_byte<K: Kind>() {
    let server = start(OnceServer::new(prefixed::<K>(&gate()))).await;
    drop(server.peer().await);
    server.peer().await.reset();
    let mut peer = server.peer().await;
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("hello")).await, Heard::message("hello"));
    drop(peer);
    let report = server.finished().await;
    assert_eq!((report.requests.received, report.requests.served), (1, 1));
}

async fn once_ignores_connections_that_stay_idle<K: Kind>() {
    let server = OnceServer::new(prefixed::<K>(&gate())).idle_timeout(Duration::from_millis(300));
    let server = start(server).await;
    let mut idle = server.peer().await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.ask("hello")).await, Heard::message("hello"));
    assert_eq!(within(idle.hear()).await.kind(), code::IDLE);
    drop((peer, idle));
    assert_eq!(server.finished().await.requests.served, 1);
}

async fn once_has_closed_its_listener_when_the_request_is_taken<K: Kind>() {
    let gate = gate();
    let once = OnceServer::new(prefixed::<K>(&gate)).host(own_ip().to_string());
    let server = start(once).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait done"))).await;
    within(gate.reached()).await;
    let error = server.try_peer().await.expect_err("closed");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    gate.open();
    assert_eq!(within(peer.hear()).await, Heard::message("done"));
    drop(peer);
    assert_eq!(server.finished().await.requests.served, 1);
}

async fn once_executes_no_second_request<K: Kind>() {
    no_second_request(start(OnceServer::new(prefixed::<K>(&gate()))).await).await;
}

#[tokio::test]
async fn once_executes_no_second_request_of_a_plain_function() {
    no_second_request(start(OnceServer::new(Echo)).await).await;
}

/// Never waits, so that it is called without a future.
#[server_protocol]
fn echo(request: &str) -> &str {
    request
}

/// Runs beside other requests of its connection.
#[server_protocol(concurrent = 4)]
async fn beside(request: &str, #[state] gate: &Gate) -> String {
    gate.pass().await;
    request.to_owned()
}

#[tokio::test]
async fn once_executes_no_second_request_beside_the_first() {
    let gate = gate();
    let server = start(OnceServer::new(Beside::new(gate.clone()))).await;
    let open = async {
        gate.reached().await;
        gate.open();
    };
    join!(within(open), no_second_request(server));
}

async fn no_second_request(server: Running) {
    let mut peer = server.peer().await;
    within(peer.send([frame(b"one"), frame(b"two")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("one"));
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(
            code::GOING_AWAY,
            "this server answers one request".to_owned()
        )
    );
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    assert_eq!(server.finished().await.requests.received, 1);
}

async fn once_returns_when_its_request_is_rejected_or_fails<K: Kind>() {
    for (request, kind) in [
        (frame(b"\xff"), code::BAD_REQUEST),
        (frame(b"busy x"), code::BUSY),
        (frame(b"panic x"), code::FAILED),
        (2_u32.pow(30).to_be_bytes().to_vec(), code::PROTOCOL_ERROR),
    ] {
        let server = start(OnceServer::new(prefixed::<K>(&gate()))).await;
        let mut peer = server.peer().await;
        within(peer.send([request, frame(b"behind")].concat())).await;
        assert_eq!(within(peer.hear()).await.kind(), kind);
        if kind < code::GOING_AWAY {
            assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
        }
        assert_eq!(within(peer.hear()).await, Heard::End);
        drop(peer);
        assert_eq!(server.finished().await.requests.received, 1);
    }
}

async fn once_answers_one_request_over_any_stream<K: Kind>() {
    let (near, far) = tokio::io::duplex(1 << 10);
    let serving =
        tokio::spawn(OnceServer::new(prefixed::<K>(&gate())).serve_stream(far, Peer::unnamed()));
    let mut peer = RawPeer::over(near);
    within(peer.send([frame(b"one"), frame(b"two")].concat())).await;
    assert_eq!(within(peer.hear()).await, Heard::message("one"));
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    let report = within(serving).await.expect("no panic").expect("served");
    assert_eq!(report.requests.received, 1);
}

async fn iterative_does_not_answer_the_second_before_the_first_is_done<K: Kind>() {
    let gate = gate();
    let server = start(IterativeServer::new(prefixed::<K>(&gate))).await;
    let mut first = server.peer().await;
    within(first.send(frame(b"wait first"))).await;
    within(gate.reached()).await;
    let mut second = server.peer().await;
    within(second.send(frame(b"wait second"))).await;

    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("first"));
    for _ in 0..10 {
        assert_eq!(within(first.ask("more")).await, Heard::message("more"));
    }
    assert!(!gate.was_reached(), "both are served");
    drop(first);
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(second.hear()).await, Heard::message("second"));
    drop(second);
    assert_eq!(server.stopped().await.requests.served, 12);
}

async fn iterative_serves_the_second_although_the_first_sits_idle<K: Kind>() {
    let server =
        IterativeServer::new(prefixed::<K>(&gate())).idle_timeout(Duration::from_millis(300));
    let server = start(server).await;
    let mut idle = server.peer().await;
    let mut second = server.peer().await;
    assert_eq!(within(second.ask("hello")).await, Heard::message("hello"));
    assert_eq!(
        within(idle.hear()).await,
        Heard::Control(
            code::IDLE,
            "no request arrived for 300ms (`idle_timeout`)".to_owned()
        )
    );
    drop((idle, second));
    assert_eq!(server.stopped().await.requests.served, 1);
}

async fn concurrent_answers_both<K: Kind>() {
    let gate = gate();
    let server = start(ConcurrentServer::new(prefixed::<K>(&gate))).await;
    let mut first = server.peer().await;
    within(first.send(frame(b"wait first"))).await;
    within(gate.reached()).await;
    let mut second = server.peer().await;
    assert_eq!(within(second.ask("second")).await, Heard::message("second"));
    gate.open();
    assert_eq!(within(first.hear()).await, Heard::message("first"));
    drop((first, second));
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn connections_beyond_the_cap_wait_in_the_backlog<K: Kind>() {
    let gate = gate();
    let server = start(ConcurrentServer::new(prefixed::<K>(&gate)).max_connections(2)).await;
    let mut peers: Vec<RawPeer> = Vec::new();
    for _ in 0..3 {
        let mut peer = server.peer().await;
        within(peer.send(frame(b"wait"))).await;
        peers.push(peer);
    }
    let mut third = peers.pop().expect("three");
    for _ in &peers {
        within(gate.reached()).await;
    }
    // Either function may be the first that the gate lets through.
    for _ in &peers {
        gate.open();
    }
    for peer in &mut peers {
        assert_eq!(within(peer.hear()).await, Heard::message(""));
        assert_eq!(within(peer.ask("more")).await, Heard::message("more"));
    }
    assert!(!gate.was_reached(), "three are served");
    peers.pop();
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(third.hear()).await, Heard::message(""));
    drop((peers, third));
    assert_eq!(server.stopped().await.requests.served, 5);
}

#[tokio::test]
async fn many_wait_in_the_backlog_until_they_are_accepted() {
    let largest = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let largest = largest.map_or(100, |text| text.trim().parse().expect("a number"));
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).port(0);
    let server = server.bind().await.expect("a free port");
    let (addr, handle) = (server.local_addr(), server.handle());
    let mut peers = Vec::new();
    for _ in 0..largest.min(300) {
        peers.push(within(RawPeer::connect(addr)).await);
    }
    let server = tokio::spawn(server.listen());
    for peer in &mut peers {
        assert_eq!(within(peer.ask("hello")).await, Heard::message("hello"));
    }
    let count = peers.len() as u64;
    drop(peers);
    handle.stop();
    let report = within(server).await.expect("no panic").expect("no error");
    assert_eq!(report.requests.served, count);
}

async fn raw_has_one_exchange_per_connection<K: Kind>() {
    let server = start(ConcurrentServer::new(tester_of::<K, Raw>(&gate()))).await;
    for _ in 0..2 {
        let mut peer = server.peer().await;
        within(peer.send("hello\n")).await;
        assert_eq!(within(peer.rest()).await, b"hello\n");
    }
    assert_eq!(server.stopped().await.requests.served, 2);
}

async fn raw_request_that_fills_the_buffer_exactly_is_answered<K: Kind>() {
    let server = start(ConcurrentServer::new(tester_of::<K, Raw>(&gate()))).await;
    for length in [16 * 1024, 16 * 1024 - 1, 16 * 1024 + 1] {
        let mut peer = server.peer().await;
        let request = vec![b'x'; length];
        within(peer.send(&request)).await;
        // The bytes may arrive in several segments, of which `Raw` takes the first as all.
        let reply = within(peer.rest()).await;
        assert!(!reply.is_empty() && request.starts_with(&reply));
    }
    assert_eq!(server.stopped().await.requests.served, 3);
}

/// How long the end of a [`Slow`] session takes.
const SLOW: Duration = Duration::from_millis(300);

/// A session that takes its time to end.
#[derive(Default)]
struct Slow;

impl Count for Slow {
    fn count(&mut self) -> u32 {
        0
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        thread::sleep(SLOW);
    }
}

fn next_connection_is_accepted_only_when_the_last_is_closed<K: Kind>() {
    let tester = prefixed::<K>(&gate()).session::<Slow>();
    let server = apart(ConcurrentServer::new(tester).max_connections(1));
    let request = frame(b"request");
    let (mut last, mut next) = (server.peer(), server.peer());
    exchange(&mut last, &request, request.len());
    last.shutdown(Shutdown::Write).expect("it is open");
    exchange(&mut next, &request, request.len());
    // A connection whose session still ended would be closed later than this.
    last.set_read_timeout(Some(SLOW / 3)).expect("a timeout");
    let read = last.read(&mut [0]).expect("the connection is closed");
    assert_eq!(read, 0);
    drop(next);
    server.stop();
    assert_eq!(server.finished().requests.served, 2);
}
