//! A stream that always has more to read keeps neither its server nor the tasks beside it.

use std::{iter, time::Duration};

use tcs::{ConcurrentServer, Peer, framing::LengthPrefixed};
use tcs_tests::{Endless, Kind, adds_up, control, each_kind, frame, gate, tester_of, within};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

each_kind!(
    [sync, ready_async, waiting]
    junk_without_end_does_not_extend_the_linger,
    notices_without_end_do_not_extend_the_linger,
    notices_without_end_leave_other_tasks_their_turn,
    frame_that_is_skipped_leaves_other_tasks_their_turn,
    frame_in_many_parts_leaves_other_tasks_their_turn,
);

/// Forty times what the task beside the server takes, because the machine may be busy.
const LINGER: Duration = Duration::from_secs(2);

async fn junk_without_end_does_not_extend_the_linger<K: Kind>() {
    ends_its_linger::<K>(vec![b'x'; 1_000]).await;
}

async fn notices_without_end_do_not_extend_the_linger<K: Kind>() {
    ends_its_linger::<K>(control(0x80, "notice")).await;
}

/// Serves a stream whose first request is its last, and which has `more` for ever.
async fn ends_its_linger<K: Kind>(more: Vec<u8>) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let server = ConcurrentServer::new(tester).linger(LINGER);
    let began = Instant::now();
    let endless = Endless::new(frame(b"last words"), more);
    let serving = tokio::spawn(server.serve_stream(endless, Peer::unnamed()));
    let other = beside();
    within(other).await.expect("no panic");
    assert!(!serving.is_finished(), "nothing else ran meanwhile");
    let report = within(serving).await.expect("no panic").expect("served");
    let took = began.elapsed();
    // What it takes longer is for its clock and for busy machines.
    assert!(took >= LINGER && took < 2 * LINGER, "{took:?}");
    adds_up(&report);
    assert_eq!((report.requests.received, report.requests.served), (1, 1));
}

async fn notices_without_end_leave_other_tasks_their_turn<K: Kind>() {
    leaves_others_their_turn::<K>(frame(b"request"), control(0x80, "notice")).await;
}

async fn frame_that_is_skipped_leaves_other_tasks_their_turn<K: Kind>() {
    let claim = (32_u32 << 20).to_be_bytes();
    leaves_others_their_turn::<K>([&frame(b"request"), &claim[..]].concat(), b"x".to_vec()).await;
}

async fn frame_in_many_parts_leaves_other_tasks_their_turn<K: Kind>() {
    let claim = (8_u32 << 20).to_be_bytes();
    leaves_others_their_turn::<K>([&frame(b"request"), &claim[..]].concat(), b"x".to_vec()).await;
}

/// Serves a stream that begins with `first`, and has `more` for ever.
async fn leaves_others_their_turn<K: Kind>(first: Vec<u8>, more: Vec<u8>) {
    let tester = tester_of::<K, LengthPrefixed>(&gate());
    let stream = Endless::new(first, more);
    let serving = tokio::spawn(ConcurrentServer::new(tester).serve_stream(stream, Peer::unnamed()));
    within(beside()).await.expect("no panic");
    assert!(!serving.is_finished(), "nothing else ran meanwhile");
    serving.abort();
    assert!(
        within(serving)
            .await
            .is_err_and(|error| error.is_cancelled())
    );
}

/// A task of the same runtime, which needs the timers and ten turns.
fn beside() -> JoinHandle<()> {
    tokio::spawn(async {
        for pause in iter::repeat_n(Duration::from_millis(5), 10) {
            sleep(pause).await;
        }
    })
}
