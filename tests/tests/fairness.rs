//! Peers that never stop asking do not keep the others waiting, whatever the function.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tcs::{ConcurrentServer, protocol::ServerProtocol};
use tcs_tests::{
    each_work,
    threads::{Apart, Flooder, apart, exchange},
    work::Calls,
};

each_work!(
    flooders_leave_their_share_to_others: is_fair(&[100]),
    flooders_of_cheap_functions_leave_their_share_to_others: is_fair(&[20]),
    flooders_of_cheap_and_dear_functions_leave_their_share_to_others: is_fair(&CHEAP_AND_DEAR),
);

/// The requests between two looks at the clock become more with each cheap one.
const CHEAP_AND_DEAR: [u64; 9] = [0, 0, 0, 0, 0, 0, 0, 0, 1_000];

/// Serializes the measurements of this file.
static ALONE: Mutex<()> = Mutex::new(());

/// A peer is answered, and a server stops listening, within 100 ms; five times that on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);
/// The latency that is allowed beside flooders, however fast a lone call is.
///
/// When more threads are busy than there are cores, a peer waits for the scheduler of the operating system.
/// If the server let flooders keep its threads, the peer would wait longer than this.
const TIME_SLICE: Duration = Duration::from_millis(5);
/// No measurement takes much longer.
const LIMIT: Duration = Duration::from_secs(1);

/// Floods a server with requests of these costs, while another peer asks for the last one again and again.
fn is_fair(protocol: impl ServerProtocol, calls: Calls, costs: &[u64]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (flood, reply) = (calls.requests(costs), calls.reply().len());
    let request = calls.requests(&costs[costs.len() - 1..]);
    // The flooders never stop, so there is nothing to linger for.
    let server = apart(ConcurrentServer::new(protocol).linger(Duration::ZERO));
    let alone = median(&server, &request, reply);
    let flooders = [(); 2].map(|()| Flooder::start(server.peer(), &flood));
    let beside = median(&server, &request, reply);
    let opened = Instant::now();
    exchange(&mut server.peer(), &request, reply);
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
    assert_eq!(report.connections.aborted, 0);
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
