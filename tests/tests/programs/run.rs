//! `run()` owns the process: signals drain the server, and a second one ends it at once.

use tcs_tests::{RawPeer, frame, process::Process, within};

struct Stubborn {
    process: Process,
    peer: RawPeer,
}

/// Starts the server, with one request that is never answered.
async fn stubborn<const N: usize>(arguments: [&str; N]) -> Stubborn {
    let request = arguments[0];
    let mut process = Process::start(env!("CARGO_BIN_EXE_stubborn"), arguments);
    let addr = process.line().await.parse().expect("an address");
    let mut peer = RawPeer::connect(addr).await;
    within(peer.send(frame(request.as_bytes()))).await;
    assert_eq!(process.line().await, format!("got {request}"));
    Stubborn { process, peer }
}

async fn second_signal_ends_at_once(request: &str) {
    let Stubborn { process, mut peer } = stubborn([request]).await;
    let mut idle = RawPeer::connect(peer.addr().expect("TCP")).await;
    // Answered without the function, so the connection was accepted.
    within(idle.send(frame(b"\xff"))).await;
    assert_eq!(within(idle.hear()).await.kind(), 0x02);
    process.signal("INT").await;
    // Told to the idle connection, so the first signal was taken.
    assert_eq!(within(idle.hear()).await.kind(), 0x40);
    ends_at_once(process).await;
    drop(within(peer.try_rest()).await);
}

/// Sends the second signal.
async fn ends_at_once(process: Process) {
    process.signal("TERM").await;
    let finished = process.finished().await;
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_eq!(
        finished.stderr,
        "Error: ended at once; requests aborted: 1\n"
    );
}

#[tokio::test]
async fn second_signal_ends_the_lame_duck_phase() {
    let Stubborn { mut process, peer } = stubborn(["wait", "lame-duck"]).await;
    process.signal("INT").await;
    assert_eq!(process.line().await, "draining");
    // It serves as before.
    let mut late = RawPeer::connect(peer.addr().expect("TCP")).await;
    within(late.send(frame(b"\xff"))).await;
    assert_eq!(within(late.hear()).await.kind(), 0x02);
    ends_at_once(process).await;
    assert_eq!(within(late.hear()).await.kind(), 0x40);
}

#[tokio::test]
async fn second_signal_ends_functions_that_wait() {
    second_signal_ends_at_once("wait").await;
}

#[tokio::test]
async fn second_signal_ends_even_functions_that_block() {
    second_signal_ends_at_once("block").await;
}
