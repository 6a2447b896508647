//! The option `concurrent`.

use std::{
    collections::BTreeMap,
    iter,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, Response,
    format::Json,
    framing::Lines,
    protocol::{Closed, Concurrency, FromSession, Many, Push, ServerProtocol, TraceRequests, wrap},
    server_protocol,
};
use tcs_tests::{Gate, gate, serve_in_memory, within};

/// A gate of each name.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<BTreeMap<String, Gate>>>);

impl Gates {
    fn of(&self, name: &str) -> Gate {
        let mut gates = self.0.lock().expect("no panic");
        gates.entry(name.to_owned()).or_insert_with(gate).clone()
    }
}

/// Replies with how many requests had come before, once the gate opens.
#[server_protocol(framing = Lines, concurrent = 4)]
async fn queue(name: &str, #[state] gates: &Gates, #[session] count: &AtomicUsize) -> String {
    let number = count.fetch_add(1, Ordering::Relaxed);
    gates.of(name).pass().await;
    format!("{name} {number}")
}

#[tokio::test]
async fn replies_of_a_function_have_the_order_of_its_requests() {
    assert_eq!(Queue::CONCURRENT, Some(Concurrency::ordered(4)));
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Queue::new(gates.clone())), 64);
    peer.send(b"a\nb\n").await;
    within(gates.of("b").reached()).await;
    gates.of("b").open();
    gates.of("a").open();
    peer.finish().await;
    assert_eq!(within(peer.rest()).await, b"a 0\nb 1\n");
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}

/// Replies without end to the first word, and to others at once.
#[server_protocol(framing = Lines, replies = &str, concurrent = 2, unordered, half_close = ends)]
fn flood(word: &str) -> Response<&str, Many<'_, Flood>> {
    match word {
        "start" => Response::many(iter::repeat("more"), "no end"),
        other => Response::Reply(other),
    }
}

/// An iterator waits for its peer, though the function does not.
#[tokio::test]
async fn iterator_of_a_plain_function_is_sent_beside_others_and_dropped() {
    let (mut peer, serving) = serve_in_memory(ConcurrentServer::new(Flood), 64);
    peer.send(b"start\nother\n").await;
    let mut received = Vec::new();
    within(async {
        while !received.windows(6).any(|bytes| bytes == b"other\n") {
            received.extend(peer.receive_some().await);
        }
    })
    .await;
    assert!(received.starts_with(b"more\n"));
    peer.finish().await;
    within(peer.rest()).await;
    assert_eq!(
        within(serving).await.expect("no panic").requests.received,
        2
    );
}

const LIMIT: usize = 2;

#[derive(Default)]
struct Session {
    names: Mutex<Vec<String>>,
}

/// The names that were given before.
struct Known(Vec<String>);

impl<'a> FromSession<'a, desk::Protocol> for Known {
    fn from_session(
        _protocol: &'a desk::Protocol,
        session: &'a Arc<Session>,
        _info: &'a ConnectionInfo,
    ) -> Result<Self, Rejection> {
        Ok(Self(session.names.lock().expect("no panic").clone()))
    }
}

#[server_protocol(
    framing = Lines,
    format = Json,
    concurrent = LIMIT,
    unordered,
    session = Session { names: Mutex::new(vec![peer.to_string()]) },
    greeting = session.names.lock().map_or(0, |names| names.len()),
    push = &str,
)]
mod desk {
    use super::*;

    pub async fn wait(
        name: String,
        #[state] gates: &Gates,
        #[session] session: &Session,
    ) -> String {
        gates.of(&name).pass().await;
        session.names.lock().expect("no panic").push(name.clone());
        name
    }

    /// It does not wait, and overtakes those that do.
    pub fn known(#[context] Known(known): Known) -> Vec<String> {
        known
    }

    pub async fn watch(#[context] push: Push<Protocol>, #[context] closed: Closed<'_>) -> bool {
        push.try_send("watching").expect("there is room");
        closed.await;
        true
    }

    #[blocking]
    pub fn block(#[state] gates: &Gates) -> usize {
        gates.of("blocked").block();
        7
    }
}

fn served(gates: &Gates) -> ConcurrentServer<desk::Protocol> {
    ConcurrentServer::new(desk::Protocol {
        gates: gates.clone(),
    })
}

#[tokio::test]
async fn functions_of_a_module_run_side_by_side() {
    assert_eq!(desk::Protocol::CONCURRENT, Some(Concurrency::unordered(2)));
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(served(&gates), 1024);
    peer.send(b"{\"wait\":{\"name\":\"a\"}}\n{\"known\":{}}\n")
        .await;
    let heard = b"1\n{\"known\":[\"unnamed peer\"]}\n";
    assert_eq!(within(peer.receive(heard.len())).await, heard);
    gates.of("a").open();
    let heard = b"{\"wait\":\"a\"}\n";
    assert_eq!(within(peer.receive(heard.len())).await, heard);
    peer.send(b"{\"known\":{}}\n").await;
    peer.finish().await;
    let heard = b"{\"known\":[\"unnamed peer\",\"a\"]}\n";
    assert_eq!(within(peer.rest()).await, heard);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 3);
}

#[tokio::test]
async fn closed_is_told_to_each_function_and_events_arrive() {
    let gates = Gates::default();
    let (mut peer, _serving) = serve_in_memory(served(&gates), 1024);
    peer.send(b"{\"watch\":{}}\n{\"watch\":{}}\n").await;
    let heard = b"1\n\"watching\"\n\"watching\"\n";
    assert_eq!(within(peer.receive(heard.len())).await, heard);
    peer.finish().await;
    let heard = b"{\"watch\":true}\n{\"watch\":true}\n";
    assert_eq!(within(peer.rest()).await, heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn function_that_blocks_is_called_beside_those_that_wait() {
    let gates = Gates::default();
    let (mut peer, serving) = serve_in_memory(served(&gates), 1024);
    peer.send(b"{\"wait\":{\"name\":\"a\"}}\n{\"block\":{}}\n")
        .await;
    within(gates.of("blocked").reached()).await;
    // The task of the connection is blocked.
    gates.of("a").open();
    gates.of("blocked").open();
    peer.finish().await;
    let mut heard = within(peer.rest()).await;
    heard.sort_unstable();
    let mut expected = b"1\n{\"block\":7}\n{\"wait\":\"a\"}\n".to_vec();
    expected.sort_unstable();
    assert_eq!(heard, expected);
    assert_eq!(within(serving).await.expect("no panic").requests.served, 2);
}

#[tokio::test]
async fn protocol_with_middleware_is_concurrent_as_well() {
    let gates = Gates::default();
    let protocol = wrap(Queue::new(gates.clone()), TraceRequests);
    let (mut peer, _serving) = serve_in_memory(ConcurrentServer::new(Arc::new(protocol)), 64);
    peer.send(b"a\nb\n").await;
    within(gates.of("b").reached()).await;
    gates.of("a").open();
    gates.of("b").open();
    assert_eq!(within(peer.receive(8)).await, b"a 0\nb 1\n");
}
