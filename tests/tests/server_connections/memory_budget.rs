//! `memory_budget`: what large messages of all connections may take together.

use std::{marker::PhantomData, time::Duration};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection,
    format::Plain,
    framing::{Framing, LengthPrefixed, Lines, Multiplexed, Netstrings, Prefixed},
    protocol::{Context, ServerProtocol},
    server::Report,
    transport::{MemoryConnector, memory},
};
use tcs_tests::{
    Act, BlockingFn, Gate, Heard, Kind, RawPeer, ReadyFn, SyncFn, WaitingFn, adds_up, code,
    ended_in_time, frame, gate, ids::message_of, patiently, start, within,
};
use tokio::{task::JoinHandle, time::Instant};

const MIB: usize = 1 << 20;
/// More than a half of the budget, and of what the pool keeps.
const LARGE: usize = 700 * 1024;
const BUSY: &str = "the memory for large frames is in use (`memory_budget`)";

/// Returns the length of the request. If it begins with `w`, waits at the gate. If it is a number, returns so many bytes.
struct Measure<F, K> {
    gate: Gate,
    marker: PhantomData<fn() -> (F, K)>,
}

impl<F: Framing, K: Kind> ServerProtocol for Measure<F, K> {
    type Framing = F;
    type Format = Plain;
    type Session = ();
    type Request<'a> = &'a str;
    type Reply<'a> = String;

    const WAITS: bool = K::WAITS;

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request<'a>(
        &'a self,
        context: Context<'a, ()>,
        request: &'a str,
    ) -> Result<String, Rejection> {
        let reply = K::process(context.info, &self.gate, || {
            let reply = match request.parse() {
                Ok(length) => "x".repeat(length),
                Err(_) => request.len().to_string(),
            };
            if request.starts_with('w') {
                Act::Wait(reply)
            } else {
                Act::Return(reply)
            }
        });
        Ok(reply.await)
    }
}

/// A server with a budget of 1 MiB.
struct Serving {
    gate: Gate,
    connector: MemoryConnector,
    task: JoinHandle<tcs::Result<Report>>,
}

fn serve<F: Framing, K: Kind>(frame_timeout: Duration) -> Serving {
    let (listener, connector) = memory();
    let protocol = Measure::<F, K> {
        gate: gate(),
        marker: PhantomData,
    };
    let gate = protocol.gate.clone();
    let server = ConcurrentServer::new(protocol)
        .listener(listener)
        .memory_budget(MIB)
        .max_frame_len(MIB - 2048)
        .frame_timeout(frame_timeout)
        .idle_timeout(None);
    Serving {
        gate,
        connector,
        task: tokio::spawn(server.listen()),
    }
}

impl Serving {
    async fn peer(&self) -> RawPeer {
        RawPeer::over(
            patiently(self.connector.connect())
                .await
                .expect("it listens"),
        )
    }

    /// Connects a peer that has had a request.
    async fn known(&self) -> RawPeer {
        let mut peer = self.peer().await;
        assert_eq!(patiently(peer.ask("known")).await, Heard::message("5"));
        peer
    }

    async fn ended(self) -> Report {
        drop(self.connector);
        let report = patiently(self.task)
            .await
            .expect("no panic")
            .expect("it ends");
        adds_up(&report);
        report
    }
}

fn large(first: &str) -> Vec<u8> {
    frame(first.to_owned() + &"a".repeat(LARGE - first.len()))
}

/// Sends bytes in the background, because the server may not read them.
fn sends(mut peer: RawPeer, bytes: Vec<u8>) -> JoinHandle<RawPeer> {
    tokio::spawn(async move {
        peer.try_send(bytes).await.ok();
        peer
    })
}

fn measured() -> Heard {
    Heard::message(&LARGE.to_string())
}

async fn waits_for_memory<K: Kind>() {
    let server = serve::<LengthPrefixed, K>(Duration::from_mins(10));
    let (first, second) = (server.known().await, server.known().await);
    let mut first = patiently(sends(first, large("w")))
        .await
        .expect("it is read");
    patiently(server.gate.reached()).await;
    let mut second = sends(second, large("b"));
    // Small ones are served meanwhile, and none of it is a matter of seconds.
    let mut small = server.known().await;
    for _ in 0..20 {
        assert_eq!(patiently(small.ask("small")).await, Heard::message("5"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!second.is_finished(), "it was read without memory");
    }
    server.gate.open();
    assert_eq!(patiently(first.hear()).await, measured());
    let mut second = patiently(&mut second).await.expect("it is read");
    assert_eq!(patiently(second.hear()).await, measured());
    drop((first, second, small));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn large_request_waits_until_memory_is_free_and_small_ones_do_not() {
    waits_for_memory::<ReadyFn>().await;
    waits_for_memory::<WaitingFn>().await;
}

async fn liar_is_told<K: Kind>() {
    let server = serve::<LengthPrefixed, K>(Duration::from_mins(10));
    let (mut liar, honest) = (server.known().await, server.known().await);
    let mut request = large("a");
    request.pop();
    patiently(liar.send(&request)).await;
    // Alone, it has all the time of `frame_timeout`.
    tokio::time::sleep(Duration::from_secs(100)).await;
    let began = Instant::now();
    let honest = sends(honest, large("b"));
    let heard = patiently(liar.hear()).await;
    ended_in_time(began, Duration::from_secs(2));
    assert_eq!(heard, Heard::Control(code::BUSY, BUSY.to_owned()));
    assert_eq!(patiently(liar.hear()).await.kind(), code::GOING_AWAY);
    let mut honest = patiently(honest).await.expect("it is read");
    assert_eq!(patiently(honest.hear()).await, measured());
    drop((liar, honest));
    let requests = server.ended().await.requests;
    assert_eq!((requests.served, requests.rejected), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn peer_that_stops_within_a_large_request_loses_its_memory_to_one_that_waits() {
    liar_is_told::<SyncFn>().await;
    liar_is_told::<ReadyFn>().await;
    liar_is_told::<WaitingFn>().await;
    liar_is_told::<BlockingFn>().await;
}

#[tokio::test(start_paused = true)]
async fn strangers_have_a_half_of_the_budget() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_secs(100));
    let request = frame("a".repeat(MIB / 2 - 2048));
    let (mut liar, stranger, known) = (
        server.peer().await,
        server.peer().await,
        server.known().await,
    );
    patiently(liar.send(&request[..request.len() - 1])).await;
    let mut known = patiently(sends(known, request.clone()))
        .await
        .expect("it is read");
    let length = (request.len() - 4).to_string();
    assert_eq!(patiently(known.hear()).await, Heard::message(&length));
    let began = Instant::now();
    let stranger = sends(stranger, request);
    assert_eq!(patiently(liar.hear()).await.kind(), code::BUSY);
    ended_in_time(began, Duration::from_secs(2));
    let mut stranger = patiently(stranger).await.expect("it is read");
    assert_eq!(patiently(stranger.hear()).await, Heard::message(&length));
    drop((liar, stranger, known));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn newcomers_that_wait_for_their_half_cut_only_newcomers() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_secs(100));
    let (mut known, mut liar, newcomer) = (
        server.known().await,
        server.peer().await,
        server.peer().await,
    );
    let (half, other) = (MIB / 2 - 2048, 400 * 1024);
    let (half_request, mut request) = (frame("a".repeat(half)), frame("b".repeat(other)));
    let last = request.pop();
    patiently(known.send(&request)).await;
    patiently(liar.send(&half_request[..half])).await;
    let began = Instant::now();
    let newcomer = sends(newcomer, half_request);
    assert_eq!(patiently(liar.hear()).await.kind(), code::BUSY);
    ended_in_time(began, Duration::from_secs(2));
    let mut newcomer = patiently(newcomer).await.expect("it is read");
    let length = Heard::message(&half.to_string());
    assert_eq!(patiently(newcomer.hear()).await, length);
    tokio::time::sleep(Duration::from_secs(5)).await;
    patiently(known.send(last.as_slice())).await;
    let length = Heard::message(&other.to_string());
    assert_eq!(patiently(known.hear()).await, length);
    drop((known, liar, newcomer));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn request_that_gets_no_memory_in_time_is_answered_busy() {
    let limit = Duration::from_secs(5);
    let server = serve::<LengthPrefixed, ReadyFn>(limit);
    let (first, second) = (server.known().await, server.known().await);
    let mut first = patiently(sends(first, large("w")))
        .await
        .expect("it is read");
    patiently(server.gate.reached()).await;
    let began = Instant::now();
    let second = sends(second, large("b"));
    let mut second = patiently(second).await.expect("no panic");
    // The 128 KiB that have arrived add two seconds.
    ended_in_time(began, limit + Duration::from_secs(2));
    assert_eq!(
        patiently(second.hear()).await,
        Heard::Control(code::BUSY, BUSY.to_owned())
    );
    server.gate.open();
    assert_eq!(patiently(first.hear()).await, measured());
    drop((first, second));
    let requests = server.ended().await.requests;
    assert_eq!((requests.served, requests.rejected), (3, 1));
}

/// Sends a large message over a framing, which fits into the budget.
async fn large_messages_are_served<F: Framing>(request: Vec<u8>, reply: Vec<u8>) {
    let server = serve::<F, SyncFn>(Duration::from_mins(10));
    let mut peer = server.peer().await;
    for _ in 0..3 {
        patiently(peer.send(&request)).await;
        assert_eq!(patiently(peer.receive(reply.len())).await, reply);
    }
    drop(peer);
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn framings_that_tell_their_length_and_others_are_served() {
    let text = "a".repeat(LARGE);
    let length = LARGE.to_string();
    large_messages_are_served::<LengthPrefixed>(frame(&text), frame(&length)).await;
    large_messages_are_served::<Multiplexed>(message_of(7, &text), message_of(7, &length)).await;
    large_messages_are_served::<Lines>(format!("{text}\n").into(), format!("{length}\n").into())
        .await;
    let (request, reply) = (format!("{LARGE}:{text},"), format!("6:{length},"));
    large_messages_are_served::<Netstrings>(request.into(), reply.into()).await;
    let header = &u32::try_from(LARGE).expect("it is small").to_be_bytes()[1..];
    let request = [header, text.as_bytes()].concat();
    large_messages_are_served::<Prefixed<3>>(request, [b"\0\0\x06", length.as_bytes()].concat())
        .await;
}

/// A connection that stays busy keeps its buffer, and a larger request takes more.
#[tokio::test(start_paused = true)]
async fn request_can_be_larger_than_the_one_before() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_mins(10));
    let lengths = [200, 300, 600, 900].map(|kib| kib * 1024);
    let requests = lengths.map(|length| frame("a".repeat(length))).concat();
    let mut peer = patiently(sends(server.known().await, requests))
        .await
        .expect("it is read");
    for length in lengths {
        assert_eq!(
            patiently(peer.hear()).await,
            Heard::message(&length.to_string())
        );
    }
    drop(peer);
    // All of it is free again.
    let mut peer = patiently(sends(server.known().await, frame("a".repeat(1_000 * 1024))))
        .await
        .expect("it is read");
    assert_eq!(patiently(peer.hear()).await, Heard::message("1024000"));
    drop(peer);
    server.ended().await;
}

/// The first bytes of the next message need little memory.
#[tokio::test(start_paused = true)]
async fn memory_is_free_again_when_the_next_message_has_begun() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_mins(10));
    let request = [large("a"), vec![0, 0]].concat();
    let mut first = patiently(sends(server.known().await, request))
        .await
        .expect("it is read");
    assert_eq!(patiently(first.hear()).await, measured());
    let began = Instant::now();
    let second = sends(server.known().await, large("b"));
    let mut second = patiently(second).await.expect("it is read");
    assert_eq!(patiently(second.hear()).await, measured());
    assert_eq!(began.elapsed(), Duration::ZERO);
    patiently(first.send([0, 1, b'c'])).await;
    assert_eq!(patiently(first.hear()).await, Heard::message("1"));
    drop((first, second));
    server.ended().await;
}

/// Two that hold memory and waited for more would wait for each other.
#[tokio::test(start_paused = true)]
async fn request_that_is_larger_than_the_one_before_does_not_wait_with_its_memory() {
    let server = serve::<LengthPrefixed, ReadyFn>(Duration::from_mins(10));
    let holder = frame("w".repeat(500 * 1024));
    let mut holder = patiently(sends(server.known().await, holder))
        .await
        .expect("it is read");
    patiently(server.gate.reached()).await;
    let began = Instant::now();
    let requests = [200, 600].map(|kib| frame("a".repeat(kib * 1024))).concat();
    let growing = sends(server.known().await, requests);
    let mut growing = patiently(growing).await.expect("no panic");
    assert_eq!(patiently(growing.hear()).await, Heard::message("204800"));
    assert_eq!(
        patiently(growing.hear()).await,
        Heard::Control(code::BUSY, BUSY.to_owned())
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    server.gate.open();
    assert_eq!(patiently(holder.hear()).await, Heard::message("512000"));
    drop((holder, growing));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn request_that_is_larger_than_the_one_before_has_the_memory_of_both() {
    let server = serve::<LengthPrefixed, ReadyFn>(Duration::from_mins(10));
    let mut requests = [200, 600].map(|kib| frame("a".repeat(kib * 1024))).concat();
    requests.pop();
    let mut growing = patiently(sends(server.known().await, requests))
        .await
        .expect("it is read");
    assert_eq!(patiently(growing.hear()).await, Heard::message("204800"));
    let began = Instant::now();
    let other = sends(server.known().await, frame("b".repeat(500 * 1024)));
    assert_eq!(patiently(growing.hear()).await.kind(), code::BUSY);
    ended_in_time(began, Duration::from_secs(2));
    let mut other = patiently(other).await.expect("it is read");
    assert_eq!(patiently(other.hear()).await, Heard::message("512000"));
    drop((growing, other));
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn reply_that_is_not_read_has_less_time_without_memory() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_mins(10));
    let ask = frame("700000");
    let (mut first, mut second) = (server.known().await, server.known().await);
    patiently(first.send(&ask)).await;
    patiently(first.receive(1)).await;
    let began = Instant::now();
    patiently(second.send(&ask)).await;
    patiently(second.receive(1)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // The first has `write_timeout`, which is 30 s.
    let rest = patiently(first.receive(700_003)).await;
    assert_eq!(rest.len(), 700_003);
    let rest = patiently(second.try_rest())
        .await
        .expect("a pipe in memory");
    assert!(rest.len() < 700_003, "{}", rest.len());
    assert!(began.elapsed() < Duration::from_secs(11));
    drop((first, second));
    let requests = server.ended().await.requests;
    assert_eq!((requests.served, requests.aborted), (3, 1));
}

/// A second reply makes the write buffer larger than its reservation for the first.
#[tokio::test(start_paused = true)]
async fn reply_that_is_not_read_has_memory_of_its_own_after_a_smaller_one() {
    let server = serve::<LengthPrefixed, SyncFn>(Duration::from_mins(10));
    let (mut first, mut second) = (server.known().await, server.known().await);
    let requests = [frame("200000"), frame("700000")].concat();
    patiently(first.send(requests)).await;
    // It does not read for a second, which reserves memory. Then it takes the first reply.
    tokio::time::sleep(Duration::from_secs(1)).await;
    patiently(first.receive(200_004)).await;
    patiently(first.receive(1)).await;
    patiently(second.send(frame("700000"))).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rest = patiently(second.try_rest())
        .await
        .expect("a pipe in memory");
    assert!(rest.len() < 700_004, "{}", rest.len());
    let rest = patiently(first.receive(700_003)).await;
    assert_eq!(rest.len(), 700_003);
    drop((first, second));
    let requests = server.ended().await.requests;
    assert_eq!((requests.served, requests.aborted), (4, 1));
}

/// Without this, the check of each test that nothing is left of it (`nothing_is_left`) could not fail.
#[tokio::test]
async fn memory_of_a_large_request_is_reserved_until_it_is_over() {
    let protocol = Measure::<LengthPrefixed, WaitingFn> {
        gate: gate(),
        marker: PhantomData,
    };
    let gate = protocol.gate.clone();
    let server = start(ConcurrentServer::new(protocol).max_frame_len(MIB)).await;
    let mut peer = server.peer().await;
    within(peer.send(large("w"))).await;
    within(gate.reached()).await;
    let reserved = server.handle().reserved_bytes();
    assert!(reserved >= 500_000, "{reserved}");
    gate.open();
    let length = LARGE.to_string();
    assert_eq!(within(peer.hear()).await, Heard::message(&length));
    drop(peer);
    server.stopped().await;
}
