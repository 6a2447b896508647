//! Peers that never stop asking do not keep the others waiting, whatever the function.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tcs::{ConcurrentServer, ServerProtocol};
use tcs_tests::{
    each_work,
    threads::{Apart, Flooder, apart, exchange},
};

each_work!(
    flooders_leave_their_share_to_others(100),
    flooders_of_cheap_functions_leave_their_share_to_others(20),
);

/// Serializes the measurements of this file.
static ALONE: Mutex<()> = Mutex::new(());

/// A peer is answered, and a server stops listening, within 100 ms; five times that on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);
/// The latency that is allowed beside flooders, however fast a lone call is. Where that is tens of microseconds, and more threads are
/// busy than there are cores, it is the scheduler that makes a peer wait for its turn; a server that let
/// flooders keep its threads would make it wait longer.
const TIME_SLICE: Duration = Duration::from_millis(5);
/// No measurement takes much longer.
const LIMIT: Duration = Duration::from_secs(3);

fn flooders_leave_their_share_to_others(
    protocol: impl ServerProtocol,
    request: &[u8],
    reply: &[u8],
) {
    is_fair(protocol, request, reply);
}

fn flooders_of_cheap_functions_leave_their_share_to_others(
    protocol: impl ServerProtocol,
    request: &[u8],
    reply: &[u8],
) {
    is_fair(protocol, request, reply);
}

fn is_fair(protocol: impl ServerProtocol, request: &[u8], reply: &[u8]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = apart(ConcurrentServer::new(protocol));
    let alone = median(&server, request, reply.len());
    let flooders = [(); 2].map(|()| Flooder::start(server.peer(), request));
    let beside = median(&server, request, reply.len());
    let opened = Instant::now();
    exchange(&mut server.peer(), request, reply.len());
    let first = opened.elapsed();
    let stopped = server.stop();
    flooders.into_iter().for_each(Flooder::finished);
    let report = server.finished();
    assert!(
        beside <= Duration::max(10 * alone, TIME_SLICE),
        "{beside:?} beside flooders, {alone:?} alone"
    );
    assert!(first <= AT_ONCE, "a new peer waited for {first:?}");
    assert!(stopped <= AT_ONCE, "it listened for {stopped:?}");
    assert_eq!(report.connections.cut, 0);
}

/// Returns the median of up to a hundred calls on a connection.
fn median(server: &Apart, request: &[u8], reply: usize) -> Duration {
    let mut peer = server.peer();
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 100 && began.elapsed() < LIMIT {
        times.push(exchange(&mut peer, request, reply));
    }
    times.sort_unstable();
    times[times.len() / 2]
}
