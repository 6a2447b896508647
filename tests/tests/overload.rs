//! A server with more requests than it can process serves as many as it can, and in time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tcs_tests::overload::Load;

/// Serializes the measurements of this file.
static ALONE: Mutex<()> = Mutex::new(());

const LIMIT: Duration = Duration::from_millis(20);
/// How long the clients wait. Without the limit, hardly anything is served within it.
const PATIENCE: Duration = Duration::from_millis(250);

/// Fails unless ten times the capacity leaves nearly as much as the capacity itself. `docs/overload.md` has the whole
/// curve, as measured on a machine that is not busy, where the program `overload` asserts 90 % of the peak.
fn is_served_in_time(load: Load) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [beside, beyond] = [1, 10].map(|factor| {
        let answered = load.offer(factor * load.capacity(), Some(LIMIT));
        (answered.served_within(PATIENCE), answered)
    });
    assert!(
        10 * beyond.0 >= 7 * beside.0,
        "{} of {}",
        beyond.0,
        beside.0
    );
    assert!(beyond.1.busy > beyond.1.served.len(), "most are rejected");
    let mut answered = beyond.1;
    let slowest = answered.percentile(99);
    assert!(slowest <= PATIENCE, "{slowest:?}");
}

#[test]
fn computing_function() {
    is_served_in_time(Load::Computing);
}

#[test]
fn waiting_function() {
    is_served_in_time(Load::Waiting);
}

#[test]
fn blocking_function() {
    is_served_in_time(Load::LongBlocking);
}
