//! Publishes the numbers of channels through the crate `metrics`, with the feature of this name.

use std::time::Instant;

use ::metrics::{Counter, Gauge, Histogram, Unit, counter, describe_histogram, gauge, histogram};

const CALL_DURATION: &str = "tcs_client_call_duration_seconds";

/// The metrics of one channel, added to those of the others. The handles are kept, because finding them takes longer
/// than a cheap call.
pub(super) struct Metrics {
    open: Gauge,
    connects: Counter,
    failed_connects: Counter,
    losses: Counter,
    retries: Counter,
    answered: Counter,
    failed: Counter,
    duration: Histogram,
}

/// When a call began.
#[derive(Clone, Copy)]
pub(super) struct Start(Instant);

impl Start {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        describe_histogram!(
            CALL_DURATION,
            Unit::Seconds,
            "The time of a call of a client."
        );
        let (connects, calls) = ("tcs_client_connects_total", "tcs_client_calls_total");
        Self {
            open: gauge!("tcs_client_connections_open"),
            connects: counter!(connects, "outcome" => "connected"),
            failed_connects: counter!(connects, "outcome" => "failed"),
            losses: counter!("tcs_client_connections_lost_total"),
            retries: counter!("tcs_client_retries_total"),
            answered: counter!(calls, "outcome" => "answered"),
            failed: counter!(calls, "outcome" => "failed"),
            duration: histogram!(CALL_DURATION),
        }
    }

    pub(super) fn count_connect(&self) {
        self.connects.increment(1);
        self.open.increment(1.0);
    }

    pub(super) fn count_end(&self) {
        self.open.decrement(1.0);
    }

    pub(super) fn count_failed_connect(&self) {
        self.failed_connects.increment(1);
    }

    pub(super) fn count_loss(&self) {
        self.losses.increment(1);
    }

    pub(super) fn count_retry(&self) {
        self.retries.increment(1);
    }

    pub(super) fn record_answer(&self, start: Start) {
        self.answered.increment(1);
        self.duration.record(start.0.elapsed());
    }

    pub(super) fn count_failure(&self) {
        self.failed.increment(1);
    }
}
