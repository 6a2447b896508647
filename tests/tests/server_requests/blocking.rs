//! Functions that block their thread do not hold up the others, and only so many run at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use tcs::{ConcurrentServer, server_protocol};
use tcs_tests::{Heard, LIMIT, RawPeer, frame, start, within};
use tokio::task::yield_now;

/// Where functions block until the test lets them through.
#[derive(Clone, Debug)]
struct Dam {
    opened: Arc<Mutex<mpsc::Receiver<()>>>,
    /// How many functions came here.
    reached: Arc<AtomicUsize>,
}

fn dam() -> (Dam, mpsc::Sender<()>) {
    let (open, opened) = mpsc::channel();
    let dam = Dam {
        opened: Arc::new(Mutex::new(opened)),
        reached: Arc::default(),
    };
    (dam, open)
}

#[server_protocol(blocking)]
fn dive(request: &str, #[state] dam: &Dam) -> String {
    dam.reached.fetch_add(1, Ordering::SeqCst);
    if request == "block" {
        let opened = dam.opened.lock().expect("nobody panics");
        // The limit ends the test if nothing else can.
        opened.recv_timeout(LIMIT).expect("the test opens");
    }
    request.to_owned()
}

async fn blocked(peer: &mut RawPeer, dam: &Dam, count: usize) {
    within(peer.send(frame(b"block"))).await;
    within(async {
        while dam.reached.load(Ordering::SeqCst) < count {
            yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn function_that_blocks_is_not_cut_by_a_time_limit() {
    let (dam, open) = dam();
    let limit = Duration::from_millis(20);
    let server = ConcurrentServer::new(Dive::new(dam.clone()));
    let server = start(server.request_timeout(limit)).await;
    let mut peer = server.peer().await;
    blocked(&mut peer, &dam, 1).await;
    // Several sweeps of the server.
    tokio::time::sleep(10 * limit).await;
    open.send(()).expect("it waits");
    assert_eq!(within(peer.hear()).await, Heard::message("block"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn function_that_blocks_does_not_hold_up_the_others() {
    let (dam, open) = dam();
    let server = start(ConcurrentServer::new(Dive::new(dam.clone()))).await;
    let mut peer = server.peer().await;
    blocked(&mut peer, &dam, 1).await;
    let mut other = server.peer().await;
    assert_eq!(within(other.ask("other")).await, Heard::message("other"));
    open.send(()).expect("it waits");
    assert_eq!(within(peer.hear()).await, Heard::message("block"));
    drop((peer, other));
    assert_eq!(server.stopped().await.requests.served, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn functions_beyond_max_blocking_wait_their_turn() {
    let (dam, open) = dam();
    let server = ConcurrentServer::new(Dive::new(dam.clone())).max_blocking(1);
    let server = start(server).await;
    let mut first = server.peer().await;
    blocked(&mut first, &dam, 1).await;
    let mut second = server.peer().await;
    within(second.send(frame(b"second"))).await;
    let handle = server.handle();
    within(async {
        while handle.stats().requests.in_flight < 2 {
            yield_now().await;
        }
    })
    .await;
    // Other connections go on.
    let mut third = server.peer().await;
    within(third.send(frame(b"\xff"))).await;
    assert_eq!(within(third.hear()).await.kind(), 0x02);
    assert_eq!(dam.reached.load(Ordering::SeqCst), 1);
    open.send(()).expect("it waits");
    assert_eq!(within(first.hear()).await, Heard::message("block"));
    assert_eq!(within(second.hear()).await, Heard::message("second"));
    drop((first, second, third));
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}

#[tokio::test]
async fn blocking_function_runs_in_place_on_a_single_thread() {
    let (dam, open) = dam();
    let server = start(ConcurrentServer::new(Dive::new(dam))).await;
    let mut peer = server.peer().await;
    open.send(()).expect("it will wait");
    assert_eq!(within(peer.ask("block")).await, Heard::message("block"));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}
