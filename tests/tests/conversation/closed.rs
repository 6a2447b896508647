//! What a function knows about its peer.

use std::time::Duration;

use tcs::{ConcurrentServer, framing::Lines, protocol::Closed, server_protocol};
use tcs_tests::{Gate, Over, gate, patiently, said_to, serve_in_memory, within};
use tokio::time::timeout;

/// Waits until the peer has closed its sending half, twice, or until the gate opens.
#[server_protocol(framing = Lines)]
async fn watch(text: &str, #[state] gate: &Gate, closed: Closed<'_>) -> String {
    let was_closed = closed.is_closed();
    tokio::select! {
        () = closed => {}
        () = gate.pass() => return format!("{text} {}", closed.is_closed()),
    }
    closed.await;
    format!("{text} {was_closed} {}", closed.is_closed())
}

#[tokio::test]
async fn function_learns_that_its_peer_has_closed() {
    for over in [Over::Tcp, Over::Memory] {
        let make = ConcurrentServer::new(Watch::new(gate()));
        let (said, requests) = said_to(over, make, b"a\nb\n").await;
        assert_eq!(
            said.escape_ascii().to_string(),
            "a false true\\nb true true\\n"
        );
        assert_eq!(requests.served, 2);
    }
}

#[tokio::test]
async fn peer_that_has_sent_more_has_not_closed() {
    let gate = gate();
    let (mut peer, _) = serve_in_memory(ConcurrentServer::new(Watch::new(gate.clone())), 1_000);
    peer.send(b"a\nb").await;
    within(gate.reached()).await;
    gate.open();
    assert_eq!(within(peer.receive(8)).await, b"a false\n");
}

/// Never returns by itself.
#[server_protocol(framing = Lines)]
async fn late(text: &str, closed: Closed<'_>) -> String {
    let ended = timeout(Duration::from_hours(1), closed).await;
    format!("{text} {}", ended.is_ok())
}

#[tokio::test(start_paused = true)]
async fn open_peer_is_never_reported() {
    let (mut peer, _) = serve_in_memory(ConcurrentServer::new(Late), 1_000);
    peer.send(b"a\n").await;
    assert_eq!(patiently(peer.receive(8)).await, b"a false\n");
}
