//! Functions of each kind that wait at a gate, by attribute, when their request is
//! `hold`, and tell how they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tcs::{Response, format::Json, server_protocol};
use tokio::{sync::Semaphore, task::yield_now};

use crate::{Gate, gate};

/// How long a function still blocks its thread behind the gate: longer than the 100 µs that a connection
/// has within one poll, so that it looks at its peer before the next request, and long enough for a reset
/// to have arrived by then.
const LONGER_THAN_THE_BUDGET: Duration = Duration::from_millis(20);

/// What the functions of a test share with it.
#[derive(Clone, Debug)]
pub struct Stage {
    pub gate: Gate,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Counts {
    begun: AtomicUsize,
    gone: Semaphore,
    returned: AtomicUsize,
}

/// A stage with a closed gate.
pub fn stage() -> Stage {
    Stage {
        gate: gate(),
        counts: Arc::new(Counts {
            begun: AtomicUsize::new(0),
            gone: Semaphore::new(0),
            returned: AtomicUsize::new(0),
        }),
    }
}

impl Stage {
    /// Returns how many functions have begun.
    pub fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::SeqCst)
    }

    /// Returns how many functions have come to their end.
    pub fn returned(&self) -> usize {
        self.counts.returned.load(Ordering::SeqCst)
    }

    /// Waits until one more function has ended or was dropped.
    pub async fn gone(&self) {
        let gone = &self.counts.gone;
        gone.acquire().await.expect("never closed").forget();
    }

    /// Waits at the gate, as a function that begins here and may be dropped.
    pub async fn hold(&self) {
        let entered = self.enter();
        self.gate.pass().await;
        entered.returns();
    }

    /// Blocks the thread as a function does that takes its time, also when the gate is open.
    fn block(&self) {
        self.gate.block();
        thread::sleep(LONGER_THAN_THE_BUDGET);
    }

    fn enter(&self) -> Entered<'_> {
        self.counts.begun.fetch_add(1, Ordering::SeqCst);
        Entered(self)
    }
}

/// A function that has begun.
struct Entered<'a>(&'a Stage);

impl Entered<'_> {
    fn returns(self) {
        self.0.counts.returned.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.counts.gone.add_permits(1);
    }
}

#[server_protocol]
pub fn sync_hold<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    let entered = stage.enter();
    if request == "hold" {
        stage.block();
    }
    entered.returns();
    request
}

/// Says nothing to `hold`, so that nothing is sent that could fail.
#[server_protocol]
pub fn silent_hold<'a>(request: &'a str, #[state] stage: &Stage) -> Response<&'a str> {
    let entered = stage.enter();
    if request == "hold" {
        stage.block();
        entered.returns();
        return Response::NoReply;
    }
    entered.returns();
    Response::Reply(request)
}

#[server_protocol]
pub async fn ready_hold<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    let entered = stage.enter();
    if request == "hold" {
        stage.gate.pass().await;
    }
    entered.returns();
    request
}

#[server_protocol]
pub async fn waiting_hold<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    yield_now().await;
    let entered = stage.enter();
    if request == "hold" {
        stage.gate.pass().await;
    }
    entered.returns();
    request
}

#[server_protocol(blocking)]
pub fn blocking_hold<'a>(request: &'a str, #[state] stage: &Stage) -> &'a str {
    let entered = stage.enter();
    if request == "hold" {
        stage.block();
    }
    entered.returns();
    request
}

/// Functions that wait beside one that does not.
#[server_protocol(format = Json)]
pub mod holds {
    use super::{Stage, yield_now};

    pub fn pass(#[state] stage: &Stage) {
        stage.enter().returns();
    }

    pub async fn hold(#[state] stage: &Stage) {
        stage.hold().await;
    }

    pub async fn hold_later(#[state] stage: &Stage) {
        yield_now().await;
        stage.hold().await;
    }

    #[blocking]
    pub fn block(#[state] stage: &Stage) {
        let entered = stage.enter();
        stage.block();
        entered.returns();
    }
}
