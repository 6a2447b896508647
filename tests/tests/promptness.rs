//! The replies to requests that arrived together do not wait for the last of them, where the functions
//! take their time.

use tcs::{ConcurrentServer, protocol::ServerProtocol};
use tcs_tests::{
    Over, each_work, start_over, within,
    work::{Calls, held},
};
use tokio::runtime::Builder;

each_work!(
    first_reply_does_not_wait_for_the_last_over_tcp: is_prompt(Over::Tcp, &[DEAR; 10]),
    first_reply_does_not_wait_for_the_last_in_memory: is_prompt(Over::Memory, &[DEAR; 10]),
    first_reply_of_a_dear_function_among_cheap_ones_does_not_wait_for_the_last:
        is_prompt(Over::Tcp, &[0, 0, 0, 0, 0, 0, 0, 0, DEAR].repeat(3)),
    first_reply_of_a_dear_function_after_cheap_ones_does_not_wait_for_the_last:
        is_prompt(Over::Tcp, &[vec![0; 50], vec![DEAR; 10]].concat()),
);

/// What a call costs that is not cheap, in microseconds: more than the 100 of a poll.
const DEAR: u64 = 1_000;

/// Fails unless the first dear call is answered while the last one is held.
///
/// After cheap calls, up to nine more are begun before the clock is read. So more than that come before the last.
fn is_prompt(protocol: impl ServerProtocol, calls: Calls, over: Over, costs: &[u64]) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let reply = calls.reply();
    let until_dear = 1 + costs.iter().position(|cost| *cost == DEAR).expect("one is");
    let (last, gate) = held();
    let costs = [costs, &[last]].concat();
    // The peer is on a thread that no function keeps.
    runtime.block_on(async {
        let server = start_over(over, ConcurrentServer::new(protocol)).await;
        let mut peer = server.peer().await;
        within(peer.send(calls.requests(&costs))).await;
        let replies = reply.repeat(until_dear);
        assert_eq!(within(peer.receive(replies.len())).await, replies);
        gate.open();
        within(peer.receive(reply.len() * (costs.len() - until_dear))).await;
        drop(peer);
        assert_eq!(server.stopped().await.requests.served, costs.len() as u64);
    });
}
