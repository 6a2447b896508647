//! How many connections a server has, and of whom.

use std::{io, time::Duration};

#[cfg(target_os = "linux")]
use tcs::transport::ProxyHeader;
use tcs::{
    ConcurrentServer, ConnectionInfo, IterativeServer, Peer, Rejection, RejectionKind,
    framing::{LengthPrefixed, Lines, Multiplexed},
    protocol::ServerProtocol,
    server::AtCapacity,
    server_protocol,
    transport::{Incoming, Listener},
};
use tcs_tests::{
    Gate, Heard, Kind, Log, RawPeer, Running, Tester, code, each_kind, frame, gate,
    ids::{message_of, receive_frame},
    start, tester, tester_of, within,
};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

each_kind!(
    addresses_have_no_limit_if_it_is_off,
    peers_are_rejected_by_a_function
);
// A connection on another thread may be counted when its peer has seen its end.
each_kind!([sync, ready_async, waiting] peers_are_rejected_at_capacity);
each_kind!(
    paused:
    address_has_a_quarter_of_the_connections,
    connection_that_is_idle_longest_is_evicted,
);
each_kind!(
    [ready_async, waiting, blocking]
    connection_with_a_request_in_flight_is_not_evicted,
);

fn server() -> ConcurrentServer<Tester<LengthPrefixed>> {
    server_of()
}

fn server_of<K: Kind>() -> ConcurrentServer<Tester<LengthPrefixed, (), K>> {
    ConcurrentServer::new(tester_of(&gate()))
}

/// Where its peers have connected to.
const REACHED: &str = "198.51.100.1:7000";

#[server_protocol]
fn reached(_request: &str, info: &ConnectionInfo) -> String {
    info.local_addr()
        .map(|addr| addr.to_string())
        .unwrap_or_default()
}

#[tokio::test]
async fn function_sees_the_address_that_a_listener_gives() {
    let (listener, world) = anywhere();
    let server = start(ConcurrentServer::new(Reached).listener(listener)).await;
    let mut peer = world.connect("192.0.2.1:1");
    assert_eq!(within(peer.ask("a")).await, Heard::message(REACHED));
    leaves(peer).await;
    server.stopped().await;
}

/// A listener in memory whose peers come from any address.
pub(crate) struct Anywhere(mpsc::UnboundedReceiver<(DuplexStream, Peer)>);

impl Listener for Anywhere {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.0.recv().await;
        Ok(accepted.map(|(stream, peer)| {
            let reached = REACHED.parse().expect("an address");
            Incoming::new(stream, peer).with_local_addr(reached)
        }))
    }

    fn name(&self) -> String {
        "anywhere".to_owned()
    }
}

/// What connects to it.
pub(crate) struct World(mpsc::UnboundedSender<(DuplexStream, Peer)>);

pub(crate) fn anywhere() -> (Anywhere, World) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Anywhere(receiver), World(sender))
}

impl World {
    pub(crate) fn connect(&self, addr: &str) -> RawPeer {
        let (near, far) = duplex(1 << 16);
        let peer = Peer::at(addr.parse().expect("an address"));
        self.0.send((far, peer)).expect("it listens");
        RawPeer::over(near)
    }
}

/// Fails unless a connection is closed after this control frame.
async fn is_rejected(peer: &mut RawPeer, kind: u8, text: &str) {
    within(peer.is_told(kind, text)).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
}

/// Waits until the server has closed its end, too.
async fn leaves(mut peer: RawPeer) {
    within(peer.finish()).await;
    assert_eq!(within(peer.hear()).await, Heard::End);
}

const ADDRESS_IS_FULL: &str = "this address has 2 open connections (`max_connections_per_address`)";

async fn address_has_a_quarter_of_the_connections<K: Kind>() {
    let (listener, world) = anywhere();
    let server = start(server_of::<K>().max_connections(8).listener(listener)).await;
    let mut first = world.connect("192.0.2.1:1");
    let mut second = world.connect("192.0.2.1:2");
    within(first.is_served()).await;
    within(second.is_served()).await;
    let mut third = world.connect("192.0.2.1:3");
    is_rejected(&mut third, code::TOO_MANY_CONNECTIONS, ADDRESS_IS_FULL).await;
    within(world.connect("192.0.2.2:1").is_served()).await;
    leaves(first).await;
    within(world.connect("192.0.2.1:4").is_served()).await;
    assert_eq!(server.stopped().await.connections.accepted, 4);
}

async fn addresses_have_no_limit_if_it_is_off<K: Kind>() {
    let (listener, world) = anywhere();
    let unlimited = server_of::<K>()
        .max_connections(4)
        .max_connections_per_address(None);
    let server = start(unlimited.listener(listener)).await;
    let mut peers: Vec<_> = (0..4).map(|_| world.connect("192.0.2.1:1")).collect();
    for peer in &mut peers {
        within(peer.is_served()).await;
    }
    server.stopped().await;
}

#[tokio::test]
async fn peers_of_this_machine_share_all_connections() {
    let server = start(server().max_connections(4)).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = server.peer().await;
        within(peer.is_served()).await;
        peers.push(peer);
    }
    server.stopped().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_of_a_balancer_are_counted_by_their_own_address() {
    let header = ProxyHeader::from_networks(&["127.0.0.0/8"]).expect("a network");
    let server = start(server().max_connections(8).handshake(header)).await;
    let connect = async |client: &str| {
        let mut peer = server.peer().await;
        let header = format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n");
        within(peer.send(header)).await;
        peer
    };
    let mut first = connect("192.0.2.1").await;
    let mut second = connect("192.0.2.1").await;
    within(first.is_served()).await;
    within(second.is_served()).await;
    let mut third = connect("192.0.2.1").await;
    // It has sent more than was read.
    within(third.send(frame("a"))).await;
    is_rejected(&mut third, code::TOO_MANY_CONNECTIONS, ADDRESS_IS_FULL).await;
    within(connect("192.0.2.2").await.is_served()).await;
    drop((first, second));
    server.stopped().await;
}

fn in_words(rejection: &Rejection) -> String {
    format!("-{}", rejection.kind())
}

#[server_protocol(framing = Lines, reject_with = in_words)]
fn echo(line: &str) -> &str {
    line
}

#[tokio::test]
async fn rejected_peer_is_told_in_the_messages_of_the_protocol() {
    let server = ConcurrentServer::new(Echo).max_connections(1);
    let server = start(server.at_capacity(AtCapacity::Reject)).await;
    let mut admitted = server.peer().await;
    within(admitted.send("a\n")).await;
    assert_eq!(within(admitted.receive(2)).await, b"a\n");
    let mut rejected = server.peer().await;
    assert_eq!(within(rejected.rest()).await, b"-too many connections\n");
    drop(admitted);
    server.stopped().await;
}

/// Connects two peers, the second a second after the first.
async fn two(server: &Running) -> [RawPeer; 2] {
    let mut first = server.peer().await;
    within(first.is_served()).await;
    let mut second = server.peer().await;
    within(second.is_served()).await;
    [first, second]
}

const SERVER_IS_FULL: &str = "2 connections are open (`max_connections`)";

async fn peers_are_rejected_at_capacity<K: Kind>() {
    let server = server_of::<K>()
        .max_connections(2)
        .at_capacity(AtCapacity::Reject);
    let server = start(server).await;
    let [first, mut second] = two(&server).await;
    for _ in 0..3 {
        let mut third = server.peer().await;
        // What it sends is read, or the connection would be reset.
        within(third.send(vec![0; 512 << 10])).await;
        is_rejected(&mut third, code::TOO_MANY_CONNECTIONS, SERVER_IS_FULL).await;
    }
    leaves(first).await;
    within(server.peer().await.is_served()).await;
    within(second.is_served()).await;
    drop(second);
    assert_eq!(server.stopped().await.connections.accepted, 3);
}

#[tokio::test]
async fn full_server_that_rejects_peers_warns_once() {
    let (log, _logging) = Log::start();
    let server = server().max_connections(2).at_capacity(AtCapacity::Reject);
    let server = start(server).await;
    let admitted = two(&server).await;
    for _ in 0..3 {
        let mut third = server.peer().await;
        is_rejected(&mut third, code::TOO_MANY_CONNECTIONS, SERVER_IS_FULL).await;
    }
    drop(admitted);
    server.stopped().await;
    let logged = log.with("2 connections are open (`max_connections`); further peers are rejected");
    assert_eq!(logged.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn sixty_four_peers_are_told_at_a_time() {
    let (listener, world) = anywhere();
    let server = server().max_connections(1).listener(listener);
    let server = start(server.at_capacity(AtCapacity::Reject)).await;
    let mut admitted = world.connect("192.0.2.1:1");
    within(admitted.is_served()).await;
    let mut told: Vec<_> = (0..64).map(|_| world.connect("192.0.2.2:1")).collect();
    let mut last = world.connect("192.0.2.2:1");
    let text = "1 connections are open (`max_connections`)";
    for peer in &mut told {
        is_rejected(peer, code::TOO_MANY_CONNECTIONS, text).await;
    }
    assert_eq!(within(last.rest()).await, b"");
    drop(told);
    // Until the server has seen that they have closed.
    within(async { while world.connect("192.0.2.2:1").hear().await == Heard::End {} }).await;
    drop(admitted);
    server.stopped().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn peer_that_begins_with_a_handshake_is_closed_at_capacity() {
    let server = server().max_connections(1).at_capacity(AtCapacity::Reject);
    let server = start(server.tls(tcs_tests::tls::server())).await;
    let stream = tcs_tests::tls::connect(server.addr()).await;
    let mut admitted = RawPeer::over(stream);
    within(admitted.is_served()).await;
    assert_eq!(within(server.peer().await.rest()).await, b"");
    drop(admitted);
    server.stopped().await;
}

async fn connection_that_is_idle_longest_is_evicted<K: Kind>() {
    let (listener, world) = anywhere();
    let server = server_of::<K>()
        .max_connections(2)
        .max_connections_per_address(None);
    let server = server.at_capacity(AtCapacity::EvictIdle).listener(listener);
    let server = start(server).await;
    let mut first = world.connect("192.0.2.1:1");
    within(first.is_served()).await;
    let mut second = world.connect("192.0.2.1:1");
    within(second.is_served()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Now the second is idle longest.
    within(first.is_served()).await;
    let mut third = world.connect("192.0.2.1:1");
    within(third.is_served()).await;
    let text = "the server needs the place of this idle connection (`at_capacity`)";
    is_rejected(&mut second, code::IDLE, text).await;
    // It need not have closed.
    within(first.is_served()).await;
    within(third.is_served()).await;
    drop((first, second, third));
    assert_eq!(server.stopped().await.requests.served, 6);
}

async fn connection_with_a_request_in_flight_is_not_evicted<K: Kind>() {
    let gate = gate();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate)).max_connections(2);
    let server = start(server.at_capacity(AtCapacity::EvictIdle)).await;
    let [mut first, mut second] = two(&server).await;
    for busy in [&mut first, &mut second] {
        within(busy.send(frame("wait b"))).await;
        within(gate.reached()).await;
    }
    let mut third = server.peer().await;
    is_rejected(&mut third, code::TOO_MANY_CONNECTIONS, SERVER_IS_FULL).await;
    gate.open();
    gate.open();
    for busy in [&mut first, &mut second] {
        assert_eq!(within(busy.hear()).await, Heard::message("b"));
        within(busy.is_served()).await;
    }
    drop((first, second));
    assert_eq!(server.stopped().await.requests.served, 6);
}

#[tokio::test]
async fn one_connection_is_evicted_even_if_it_lingers() {
    let server = server()
        .max_connections(2)
        .at_capacity(AtCapacity::EvictIdle);
    let server = start(server).await;
    let [mut first, mut second] = two(&server).await;
    for peer in [&mut first, &mut second] {
        // Its end may still be on the way, so the server waits until the peer closes.
        let reply = within(peer.ask("size 20000")).await;
        assert_eq!(reply, Heard::message(&"x".repeat(20_000)));
    }
    let mut third = server.peer().await;
    within(third.is_served()).await;
    assert_eq!(within(first.hear()).await.kind(), code::IDLE);
    within(second.is_served()).await;
    drop((first, second, third));
    assert_eq!(server.stopped().await.requests.served, 6);
}

/// That peers wait is what an iterative server is for.
#[tokio::test]
async fn iterative_server_does_not_warn_that_peers_wait() {
    let (log, _logging) = Log::start();
    let server = start(IterativeServer::new(tester::<LengthPrefixed>(&gate()))).await;
    let mut admitted = server.peer().await;
    within(admitted.is_served()).await;
    for _ in 0..3 {
        let waiting = server.peer().await;
        leaves(admitted).await;
        admitted = waiting;
        within(admitted.is_served()).await;
    }
    assert_eq!(log.with("WARN").len(), 0);
    assert_eq!(log.with("max_connections`").len(), 0);
    drop(admitted);
    server.stopped().await;
}

/// Rejects the peers of a port with a rejection of this kind, which is known after the handshakes.
fn rejects(peer: &Peer) -> Result<(), Rejection> {
    match peer.addr().map(|addr| addr.port()) {
        Some(1) => Err(Rejection::new(RejectionKind::Idle, "not now")),
        Some(2) => Err(Rejection::bad_request("not from there")),
        Some(3) => panic!("a panic of the condition"),
        _ => Ok(()),
    }
}

const REJECTED: [(u8, &str); 3] = [
    (code::IDLE, "not now"),
    (code::GOING_AWAY, "not from there"),
    (code::GOING_AWAY, "the server failed"),
];

async fn peers_are_rejected_by_a_function<K: Kind>() {
    let (listener, world) = anywhere();
    let server = start(server_of::<K>().on_accept(rejects).listener(listener)).await;
    for (port, (kind, text)) in (1..).zip(REJECTED) {
        let mut rejected = world.connect(&format!("192.0.2.1:{port}"));
        is_rejected(&mut rejected, kind, text).await;
    }
    within(world.connect("192.0.2.1:4").is_served()).await;
    assert_eq!(server.stopped().await.connections.accepted, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn peers_are_rejected_by_a_function_after_their_handshakes() {
    let header = ProxyHeader::from_networks(&["127.0.0.0/8"]).expect("a network");
    let proxied = server().on_accept(rejects).handshake(header);
    let server = start(proxied.handshake(tcs_tests::tls::server())).await;
    let connect = async |port: u16| {
        let mut peer = server.peer().await;
        let header = format!("PROXY TCP4 192.0.2.1 192.0.2.9 {port} 2\r\n");
        within(peer.send(header)).await;
        within(peer.start_tls()).await
    };
    for (port, (kind, text)) in (1..).zip(REJECTED) {
        is_rejected(&mut connect(port).await, kind, text).await;
    }
    let mut admitted = connect(4).await;
    within(admitted.is_served()).await;
    drop(admitted);
    server.stopped().await;
}

each_kind!(
    paused:
    requests_of_an_address_have_a_rate,
);
each_kind!(
    [ready_async, waiting, blocking]
    requests_of_an_address_in_flight_are_limited,
);
each_kind!(
    [ready_async, waiting] paused:
    request_that_times_out_is_no_longer_in_flight,
);

async fn requests_of_an_address_have_a_rate<K: Kind>() {
    const TOO_FAST: &str =
        "this address sends more than 2 requests per second (`max_request_rate_per_address`)";
    let too_fast = || Heard::Control(code::BUSY, TOO_FAST.to_owned());
    let (listener, world) = anywhere();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = start(server.max_request_rate_per_address(2).listener(listener)).await;
    let mut first = world.connect("192.0.2.1:1");
    let mut second = world.connect("192.0.2.1:2");
    within(first.is_served()).await;
    within(second.is_served()).await;
    for peer in [&mut first, &mut second] {
        assert_eq!(within(peer.ask("a")).await, too_fast());
    }
    within(world.connect("192.0.2.2:1").is_served()).await;
    leaves(first).await;
    leaves(second).await;
    // The map makes room for others, and keeps this address.
    for peer in 0..8 {
        within(world.connect(&format!("198.51.100.{peer}:1")).is_served()).await;
    }
    let mut again = world.connect("192.0.2.1:3");
    assert_eq!(within(again.ask("a")).await, too_fast());
    tokio::time::sleep(Duration::from_millis(501)).await;
    within(again.is_served()).await;
    assert_eq!(within(again.ask("a")).await, too_fast());
    tokio::time::sleep(Duration::from_mins(1)).await;
    for _ in 0..2 {
        within(again.is_served()).await;
    }
    assert_eq!(within(again.ask("a")).await, too_fast());
    drop(again);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (14, 5));
}

async fn requests_of_an_address_in_flight_are_limited<K: Kind>() {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate));
    let server = start(server.max_in_flight_per_address(1).listener(listener)).await;
    let mut first = world.connect("192.0.2.1:1");
    let mut second = world.connect("192.0.2.1:2");
    for _ in 0..2 {
        within(first.send(frame("wait a"))).await;
        within(gate.reached()).await;
        let told = "this address has 1 requests in flight (`max_in_flight_per_address`)";
        let told = Heard::Control(code::BUSY, told.to_owned());
        assert_eq!(within(second.ask("a")).await, told);
        within(world.connect("192.0.2.2:1").is_served()).await;
        gate.open();
        assert_eq!(within(first.hear()).await, Heard::message("a"));
        within(second.is_served()).await;
    }
    drop((first, second));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (6, 2));
}

/// Waits at the gate, beside other requests of its connection.
#[server_protocol(framing = Multiplexed)]
async fn beside(request: &str, #[state] gate: &Gate) -> String {
    gate.pass().await;
    request.to_owned()
}

#[tokio::test]
async fn request_beside_others_is_in_flight_until_it_is_answered() {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(Beside::new(gate.clone()));
    let server = start(server.max_in_flight_per_address(1).listener(listener)).await;
    let mut peer = world.connect("192.0.2.1:1");
    for _ in 0..2 {
        within(peer.send(message_of(1, "a"))).await;
        within(gate.reached()).await;
        within(peer.send(message_of(2, "b"))).await;
        let (id, kind, _) = within(receive_frame(&mut peer)).await;
        assert_eq!((id, kind), (2, Some(code::BUSY)));
        gate.open();
        let reply = within(receive_frame(&mut peer)).await;
        assert_eq!(reply, (1, None, b"a".to_vec()));
    }
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 2));
}

/// Waits at the gate, as [`beside`]. The replies have the order of the requests.
#[server_protocol(concurrent = 4)]
async fn in_order(request: &str, #[state] gate: &Gate) -> String {
    gate.pass().await;
    request.to_owned()
}

/// Waits at the gate, as [`beside`]. The replies have any order.
#[server_protocol(concurrent = 4, unordered)]
async fn unordered(request: &str, #[state] gate: &Gate) -> String {
    gate.pass().await;
    request.to_owned()
}

/// Sends a request, with the id 1 if the protocol has ids.
async fn request(peer: &mut RawPeer, has_ids: bool) {
    let request = if has_ids {
        message_of(1, "a")
    } else {
        frame("a")
    };
    within(peer.send(request)).await;
}

/// Receives a reply (`None`), or the kind of a rejection.
async fn answer(peer: &mut RawPeer, has_ids: bool) -> Option<u8> {
    if has_ids {
        return within(receive_frame(peer)).await.1;
    }
    match within(peer.hear()).await {
        Heard::Control(kind, _) => Some(kind),
        heard => {
            assert_eq!(heard, Heard::message("a"));
            None
        }
    }
}

#[tokio::test]
async fn request_beside_others_counts_at_all_connections_of_its_address() {
    counts_at_its_address(false, InOrder::new).await;
    counts_at_its_address(false, Unordered::new).await;
    counts_at_its_address(true, Beside::new).await;
}

async fn counts_at_its_address<P: ServerProtocol>(has_ids: bool, protocol: fn(Gate) -> P) {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(protocol(gate.clone()));
    let server = start(server.max_in_flight_per_address(1).listener(listener)).await;
    let mut peers = ["192.0.2.1:1", "192.0.2.1:2"].map(|peer| world.connect(peer));
    for _ in 0..2 {
        let [first, second] = &mut peers;
        request(first, has_ids).await;
        within(gate.reached()).await;
        request(second, has_ids).await;
        assert_eq!(answer(second, has_ids).await, Some(code::BUSY));
        gate.open();
        assert_eq!(answer(first, has_ids).await, None);
        // One that has ended leaves room.
        peers.swap(0, 1);
    }
    drop(peers);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 2));
}

#[tokio::test]
async fn requests_in_flight_are_no_connections_of_their_address() {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(Beside::new(gate.clone()))
        .max_connections_per_address(2)
        .max_in_flight_per_address(8)
        .listener(listener);
    let server = start(server).await;
    let mut first = world.connect("192.0.2.1:1");
    for id in 1..=3 {
        within(first.send(message_of(id, "a"))).await;
        within(gate.reached()).await;
    }
    let mut second = world.connect("192.0.2.1:2");
    within(second.send(message_of(4, "b"))).await;
    within(gate.reached()).await;
    for _ in 1..=4 {
        gate.open();
    }
    assert_eq!(within(receive_frame(&mut second)).await.0, 4);
    drop((first, second));
    assert_eq!(server.stopped().await.connections.accepted, 2);
}

async fn request_that_times_out_is_no_longer_in_flight<K: Kind>() {
    let (listener, world) = anywhere();
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate()));
    let server = server.request_timeout(Duration::from_secs(1));
    let server = start(server.max_in_flight_per_address(1).listener(listener)).await;
    let mut first = world.connect("192.0.2.1:1");
    assert_eq!(within(first.ask("wait a")).await.kind(), code::TIMED_OUT);
    within(world.connect("192.0.2.1:2").is_served()).await;
    server.stopped().await;
}

/// Waits at the gate until its peer leaves.
#[server_protocol(half_close = ends)]
async fn stay(request: &str, #[state] gate: &Gate) -> String {
    if request == "wait" {
        gate.pass().await;
    }
    request.to_owned()
}

#[tokio::test]
async fn request_of_a_peer_that_leaves_is_no_longer_in_flight() {
    let (gate, (listener, world)) = (gate(), anywhere());
    let server = ConcurrentServer::new(Stay::new(gate.clone()));
    let server = start(server.max_in_flight_per_address(1).listener(listener)).await;
    let mut first = world.connect("192.0.2.1:1");
    let mut second = world.connect("192.0.2.1:2");
    within(first.send(frame("wait"))).await;
    within(gate.reached()).await;
    assert_eq!(within(second.ask("a")).await.kind(), code::BUSY);
    drop(first);
    within(second.is_served()).await;
    drop(second);
    assert_eq!(server.stopped().await.requests.aborted, 1);
}
