//! Functions that end with the sending half of their peer: `half_close = ends`.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer, format::Json, framing::LengthPrefixed, protocol::ServerProtocol,
    server_protocol,
};
use tcs_tests::{
    Heard, Over, frame, over_each, patiently, serve_in_memory,
    stage::{self, Stage},
    start, start_over, within,
    work::spend,
};
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{Instant, timeout},
};

over_each!(
    element_is_not_taken_for_a_client_that_left,
    requests_before_the_half_close_are_answered_although_each_spends_a_budget,
);

/// Waits at once, if it is to.
#[server_protocol(half_close = ends)]
async fn hold<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    if request == "hold" {
        stage.hold().await;
    }
    request
}

/// Waits in any case.
#[server_protocol(half_close = ends)]
async fn hold_later<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    yield_now().await;
    if request == "hold" {
        stage.hold().await;
    }
    request
}

#[server_protocol(format = Json, half_close = ends)]
mod holds {
    use super::Stage;

    pub fn pass() {}

    pub async fn hold(#[state] stage: &Stage) {
        stage.hold().await;
    }
}

/// A request to `hold` of the module.
const HOLD: &str = r#"{"hold":{}}"#;

mod function_is_dropped_as_soon_as_its_peer_has_closed_its_half {
    use super::{HOLD, Hold, HoldLater, holds, is_dropped_at_once};

    #[tokio::test(start_paused = true)]
    async fn ready_async() {
        is_dropped_at_once(Hold::new, "hold").await;
    }

    #[tokio::test(start_paused = true)]
    async fn waiting() {
        is_dropped_at_once(HoldLater::new, "hold").await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_module() {
        is_dropped_at_once(holds::Protocol::new, HOLD).await;
    }
}

async fn is_dropped_at_once<P: ServerProtocol<Framing = LengthPrefixed>>(
    protocol: impl FnOnce(Stage) -> P,
    hold: &str,
) {
    let stage = stage::stage();
    let (mut peer, serving) =
        serve_in_memory(ConcurrentServer::new(protocol(stage.clone())), 1 << 16);
    patiently(peer.send(frame(hold.as_bytes()).repeat(3))).await;
    patiently(stage.gate.reached()).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    patiently(peer.finish()).await;
    let began = Instant::now();
    let gone = timeout(Duration::from_mins(1), stage.gone()).await;
    gone.expect("the function is dropped");
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(peer);
    let requests = patiently(serving).await.expect("no panic").requests;
    assert_eq!(
        (stage.begun(), stage.returned(), requests.served),
        (1, 0, 0)
    );
}

mod clients_that_left_leave_their_places {
    use super::{HOLD, Hold, HoldLater, holds, leave_their_places};

    #[tokio::test]
    async fn ready_async() {
        leave_their_places(Hold::new, ["hold", "pass", "pass"]).await;
    }

    #[tokio::test]
    async fn waiting() {
        leave_their_places(HoldLater::new, ["hold", "pass", "pass"]).await;
    }

    #[tokio::test]
    async fn of_a_module() {
        let texts = [HOLD, r#"{"pass":{}}"#, r#"{"pass":null}"#];
        leave_their_places(holds::Protocol::new, texts).await;
    }
}

async fn leave_their_places<P: ServerProtocol<Framing = LengthPrefixed>>(
    protocol: impl FnOnce(Stage) -> P,
    [hold, pass, passed]: [&str; 3],
) {
    const PLACES: usize = 20;
    let stage = stage::stage();
    let server = ConcurrentServer::new(protocol(stage.clone())).max_connections(PLACES);
    let server = start(server).await;
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = server.peer().await;
        within(client.send(frame(hold.as_bytes()))).await;
        within(stage.gate.reached()).await;
        clients.push(client);
    }
    drop(clients);
    let mut next = server.peer().await;
    assert_eq!(within(next.ask(pass)).await, Heard::message(passed));
    drop(next);
    assert_eq!(server.stopped().await.requests.served, 1);
    assert_eq!(stage.returned(), 0);
}

#[tokio::test(start_paused = true)]
async fn request_that_needs_no_wait_is_answered_behind_the_half_close() {
    let (mut peer, serving) =
        serve_in_memory(ConcurrentServer::new(Hold::new(stage::stage())), 1 << 16);
    patiently(peer.send([frame(b"one"), frame(b"two")].concat())).await;
    patiently(peer.finish()).await;
    assert_eq!(patiently(peer.hear()).await, Heard::message("one"));
    assert_eq!(patiently(peer.hear()).await, Heard::message("two"));
    assert_eq!(patiently(peer.hear()).await, Heard::End);
    assert_eq!(
        patiently(serving).await.expect("no panic").requests.served,
        2
    );
}

/// Takes longer than a poll may.
#[server_protocol(half_close = ends)]
async fn toil(request: &str) -> &str {
    spend(Duration::from_millis(1));
    request
}

async fn requests_before_the_half_close_are_answered_although_each_spends_a_budget(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Toil)).await;
    let mut peer = server.peer().await;
    let requests = frame(b"request").repeat(5);
    within(peer.send(&requests)).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, requests);
    assert_eq!(server.stopped().await.requests.served, 5);
}

/// What is taken by whoever asks first.
#[derive(Default)]
struct Queue {
    elements: Mutex<VecDeque<u32>>,
    pushed: Notify,
    waiting: AtomicUsize,
}

impl Queue {
    fn push(&self, element: u32) {
        self.lock().push_back(element);
        self.pushed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u32>> {
        self.elements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pop(&self) -> u32 {
        let _waits = Waits::at(self);
        loop {
            let pushed = self.pushed.notified();
            let popped = self.lock().pop_front();
            if let Some(element) = popped {
                return element;
            }
            pushed.await;
        }
    }

    async fn until_so_many_wait(&self, count: usize) {
        while self.waiting.load(Ordering::SeqCst) != count {
            yield_now().await;
        }
    }
}

/// Somebody who waits at a queue.
struct Waits<'a>(&'a Queue);

impl<'a> Waits<'a> {
    fn at(queue: &'a Queue) -> Self {
        queue.waiting.fetch_add(1, Ordering::SeqCst);
        Self(queue)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[server_protocol(half_close = ends)]
async fn pop(_request: &str, #[state] queue: &std::sync::Arc<Queue>) -> u32 {
    queue.pop().await
}

async fn element_is_not_taken_for_a_client_that_left(over: Over) {
    let queue = std::sync::Arc::<Queue>::default();
    let shared = queue.clone();
    let server = ConcurrentServer::new(Pop::new(shared.clone()));
    let server = start_over(over, server).await;
    let mut left = server.peer().await;
    within(left.send(frame(b""))).await;
    within(queue.until_so_many_wait(1)).await;
    drop(left);
    within(queue.until_so_many_wait(0)).await;
    queue.push(7);
    let mut next = server.peer().await;
    assert_eq!(within(next.ask("")).await, Heard::message("7"));
    drop(next);
    assert_eq!(server.stopped().await.requests.served, 1);
}
