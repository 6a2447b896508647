//! The replies to requests that arrived together do not wait for the last of them, where the functions
//! take their time.

use tcs::{ConcurrentServer, ServerProtocol};
use tcs_tests::{Over, Place, each_work, within};
use tokio::{runtime::Builder, time::Instant};

each_work!(
    first_reply_does_not_wait_for_the_last_over_tcp(1_000),
    first_reply_does_not_wait_for_the_last_in_memory(1_000),
);

fn first_reply_does_not_wait_for_the_last_over_tcp(
    protocol: impl ServerProtocol,
    request: &[u8],
    reply: &[u8],
) {
    is_prompt(Over::Tcp, protocol, request, reply);
}

fn first_reply_does_not_wait_for_the_last_in_memory(
    protocol: impl ServerProtocol,
    request: &[u8],
    reply: &[u8],
) {
    is_prompt(Over::Memory, protocol, request, reply);
}

const COUNT: usize = 500;

fn is_prompt(over: Over, protocol: impl ServerProtocol, request: &[u8], reply: &[u8]) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // The peer is on a thread that no function keeps.
    runtime.block_on(async {
        let protocol = std::sync::Arc::new(protocol);
        let make = move || ConcurrentServer::new(protocol.clone());
        let mut place = Place::new(over, make).await;
        let mut peer = place.peer().await;
        let began = Instant::now();
        within(peer.send(request.repeat(COUNT))).await;
        assert_eq!(within(peer.receive(reply.len())).await, reply);
        let first = began.elapsed();
        within(peer.receive(reply.len() * (COUNT - 1))).await;
        let all = began.elapsed();
        // The calls alone take half a second, so the first has 50 ms and more: many time slices of a
        // machine with more busy threads than cores. A server that answers all at once needs tenfold.
        assert!(
            first * 10 <= all,
            "{first:?} to the first of {COUNT}, {all:?} to all"
        );
        drop(peer);
        assert_eq!(place.requests().await.served, COUNT as u64);
    });
}
