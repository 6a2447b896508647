//! The replies to requests that arrived together do not wait for the last of them, where the functions
//! take their time.

use tcs::{ConcurrentServer, protocol::ServerProtocol};
use tcs_tests::{Over, Place, each_work, within, work::Calls};
use tokio::{runtime::Builder, time::Instant};

each_work!(
    first_reply_does_not_wait_for_the_last_over_tcp: is_prompt(Over::Tcp, &[DEAR; 500]),
    first_reply_does_not_wait_for_the_last_in_memory: is_prompt(Over::Memory, &[DEAR; 500]),
    first_reply_of_a_dear_function_among_cheap_ones_does_not_wait_for_the_last:
        is_prompt(Over::Tcp, &[0, 0, 0, 0, 0, 0, 0, 0, DEAR].repeat(250)),
    first_reply_of_a_dear_function_after_cheap_ones_does_not_wait_for_the_last:
        is_prompt(Over::Tcp, &[vec![0; 50], vec![DEAR; 500]].concat()),
);

/// What a call costs that is not cheap, in microseconds.
const DEAR: u64 = 1_000;

/// Fails unless the first dear call is answered long before the last.
fn is_prompt(protocol: impl ServerProtocol, calls: Calls, over: Over, costs: &[u64]) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let reply = calls.reply();
    let until_dear = 1 + costs.iter().position(|cost| *cost == DEAR).expect("one is");
    // The peer is on a thread that no function keeps.
    runtime.block_on(async {
        let protocol = std::sync::Arc::new(protocol);
        let make = move || ConcurrentServer::new(protocol.clone());
        let mut place = Place::new(over, make).await;
        let mut peer = place.peer().await;
        let began = Instant::now();
        within(peer.send(calls.requests(costs))).await;
        let replies = reply.repeat(until_dear);
        assert_eq!(within(peer.receive(replies.len())).await, replies);
        let first = began.elapsed();
        within(peer.receive(reply.len() * (costs.len() - until_dear))).await;
        let all = began.elapsed();
        // The calls alone take a quarter or half of a second, so the first has 60 ms and more: many time
        // slices of a machine with more busy threads than cores. With a server that answers all at
        // once, the two are the same.
        assert!(
            first * 4 <= all,
            "{first:?} to the first of {}, {all:?} to all",
            costs.len()
        );
        drop(peer);
        assert_eq!(place.requests().await.served, costs.len() as u64);
    });
}
