//! What a peer sends while a function waits: a bounded part of it is read ahead, and nothing is lost.

use std::time::Duration;

use tcs::{
    ConcurrentServer, Peer,
    framing::{FrameError, Framing, Input, LengthPrefixed, ParsedFrame, ReadState},
};
use tcs_tests::{
    Heard, Kind, Over, RawPeer, each_kind, frame, gate, patiently, start_over, tester_of, within,
};
use tokio::{
    io::{AsyncWriteExt as _, DuplexStream, duplex},
    time::{sleep, timeout},
};

each_kind!(
    [ready_async, waiting] paused:
    no_more_than_64_kib_are_read_ahead,
    message_that_ends_with_a_pause_is_read_to_its_end,
);
each_kind!(
    [ready_async, waiting, blocking] over_each:
    requests_that_arrive_meanwhile_are_answered_in_order,
);

const MOST: usize = 64 * 1024;

/// The paused clock moves only when nothing else can run, so a second of it is enough for all that can.
const A_WHILE: Duration = Duration::from_secs(1);

/// Sends what is taken of `bytes`. Returns how many that are.
async fn send_what_is_taken(stream: &mut DuplexStream, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while sent < bytes.len() {
        match timeout(A_WHILE, stream.write(&bytes[sent..])).await {
            Ok(written) => sent += written.expect("it is open"),
            Err(_) => break,
        }
    }
    sent
}

/// Requests that can be told apart, and more of them than are read ahead.
fn requests() -> Vec<u8> {
    let numbers = (0..15_000).map(|number: u32| number.to_string());
    numbers.flat_map(|text| frame(text.as_bytes())).collect()
}

async fn no_more_than_64_kib_are_read_ahead<K: Kind>() {
    const PIPE: usize = 1_000;
    let (gate, requests) = (gate(), requests());
    let (mut near, far) = duplex(PIPE);
    let server = ConcurrentServer::new(tester_of::<K, LengthPrefixed>(&gate));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    assert_eq!(
        send_what_is_taken(&mut near, &frame(b"wait first")).await,
        14
    );
    patiently(gate.reached()).await;
    let sent = send_what_is_taken(&mut near, &requests).await;
    assert_eq!(sent - PIPE, MOST);
    gate.open();
    // The replies are the requests themselves.
    let mut peer = RawPeer::over(near);
    assert_eq!(patiently(peer.hear()).await, Heard::message("first"));
    let replies = patiently(peer.send_and_receive(&requests[sent..], requests.len())).await;
    assert!(replies == requests);
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(report.expect("served").requests.served, 15_001);
}

/// A message is what arrives until a pause.
#[derive(Default)]
struct UntilPause;

impl Framing for UntilPause {
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let length = input.bytes().len();
        let is_complete = length > 0 && input.read_state() != ReadState::MaybeMore;
        Ok(is_complete.then(|| ParsedFrame::message(0..length, length)))
    }
}

async fn message_that_ends_with_a_pause_is_read_to_its_end<K: Kind>() {
    let gate = gate();
    let (near, far) = duplex(1 << 20);
    let server = ConcurrentServer::new(tester_of::<K, UntilPause>(&gate));
    let serving = tokio::spawn(server.serve_stream(far, Peer::unnamed()));
    let mut peer = RawPeer::over(near);
    for length in [MOST - 1, MOST, MOST + 1, 3 * MOST] {
        patiently(peer.send("wait first")).await;
        patiently(gate.reached()).await;
        patiently(peer.send("y".repeat(length))).await;
        // The server reads ahead before the function returns.
        sleep(A_WHILE).await;
        gate.open();
        assert_eq!(patiently(peer.receive(5)).await, b"first");
        // A message that was cut would have a second reply.
        assert_eq!(patiently(peer.receive(length)).await, vec![b'y'; length]);
    }
    drop(peer);
    let report = patiently(serving).await.expect("no panic");
    assert_eq!(report.expect("served").requests.served, 8);
}

async fn requests_that_arrive_meanwhile_are_answered_in_order<K: Kind>(over: Over) {
    let (gate, requests) = (gate(), requests());
    let tester = tester_of::<K, LengthPrefixed>(&gate);
    let server = start_over(over, ConcurrentServer::new(tester)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"wait first"))).await;
    within(gate.reached()).await;
    // The gate opens when as much is sent as the server takes at first.
    let (replies, ()) = tokio::join!(
        within(peer.send_and_receive(&requests, 9 + requests.len())),
        async { gate.open() },
    );
    assert!(replies == [frame(b"first"), requests].concat());
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 15_001);
}
