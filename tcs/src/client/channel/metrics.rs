//! Publishes the numbers of channels through the crate `metrics`, with the feature of this name.

use ::metrics::{Counter, Gauge, Histogram, Unit, counter, describe_histogram, gauge, histogram};

const CALL_DURATION: &str = "tcs_client_call_duration_seconds";

/// The metrics of one channel, added to those of the others. The handles are kept, because finding them takes longer
/// than a cheap call.
pub(super) struct Metrics {
    pub(super) open: Gauge,
    pub(super) connects: Counter,
    pub(super) failed_connects: Counter,
    pub(super) losses: Counter,
    pub(super) retries: Counter,
    pub(super) retries_refused: Counter,
    pub(super) answered: Counter,
    pub(super) failed: Counter,
    pub(super) duration: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
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
            retries_refused: counter!("tcs_client_retries_refused_total"),
            answered: counter!(calls, "outcome" => "answered"),
            failed: counter!(calls, "outcome" => "failed"),
            duration: histogram!(CALL_DURATION),
        }
    }
}
