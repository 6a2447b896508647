//! Publishes the numbers of a server through the crate `metrics`, with the feature of this name.
//!
//! The totals come from the [`Report`] and are published once per second, so that requests do not pay for them. Only the
//! time of a call is recorded for each request.

use std::{convert::Infallible, iter::zip, mem::replace, thread, time::Duration};

use ::metrics::{
    Counter, Gauge, Histogram, Label, Unit, counter, describe_histogram, gauge, histogram,
};
use tokio::time::{Instant, sleep};

use super::{registry::Registry, report::Report, tally::CallOutcome};
use crate::{RejectionKind, buffer::Arrival};

const INTERVAL: Duration = Duration::from_secs(1);

/// Whether connections record each arrival of bytes.
pub(super) const NEEDS_ARRIVALS: bool = true;

const QUEUE_DURATION: &str = "tcs_queue_duration_seconds";
const REQUEST_DURATION: &str = "tcs_request_duration_seconds";
const CONNECTION_DURATION: &str = "tcs_connection_duration_seconds";

/// The numbers that are published once per second.
#[derive(Clone, Copy, Default)]
struct Numbers {
    report: Report,
    reserved_bytes: u64,
}

/// Returns the gauges, each with its name.
fn gauges(
    Numbers {
        report,
        reserved_bytes,
    }: &Numbers,
) -> [(&'static str, u64); 3] {
    [
        ("tcs_connections_open", report.connections.open),
        ("tcs_requests_in_flight", report.requests.in_flight),
        ("tcs_buffer_bytes", *reserved_bytes),
    ]
}

/// Returns the counters, each with its name and its label `outcome`, if it has one.
fn counters(Numbers { report, .. }: &Numbers) -> [(&'static str, Option<&'static str>, u64); 12] {
    let (ended, connections) = ("tcs_connections_ended_total", report.connections);
    let events = "tcs_events_total";
    let (done, requests) = ("tcs_requests_total", report.requests);
    [
        ("tcs_connections_accepted_total", None, connections.accepted),
        (ended, Some("closed"), connections.closed),
        (ended, Some("aborted"), connections.aborted),
        ("tcs_requests_received_total", None, requests.received),
        (done, Some("served"), requests.served),
        (done, Some("failed"), requests.failed),
        (done, Some("rejected"), requests.rejected),
        (done, Some("aborted"), requests.aborted),
        ("tcs_received_bytes_total", None, report.bytes.received),
        ("tcs_sent_bytes_total", None, report.bytes.sent),
        (events, Some("sent"), report.events.sent),
        (events, Some("dropped"), report.events.dropped),
    ]
}

/// Runs `future`, and publishes the numbers of the server once per second and at the end.
pub(super) async fn publishing<F: Future>(registry: &Registry, future: F) -> F::Output {
    let mut publisher = Publisher::new(registry);
    tokio::select! {
        biased;
        output = future => output,
        never = publisher.run() => match never {},
    }
}

/// Publishes how the numbers of one server have changed, so that the numbers of several servers add up.
struct Publisher<'r> {
    registry: &'r Registry,
    /// The numbers that were published last.
    last: Numbers,
    gauges: [Gauge; 3],
    counters: [Counter; 12],
}

impl<'r> Publisher<'r> {
    fn new(registry: &'r Registry) -> Self {
        let text = "The time from the read of a request to its call.";
        describe_histogram!(QUEUE_DURATION, Unit::Seconds, text);
        describe_histogram!(REQUEST_DURATION, Unit::Seconds, "The time of a call.");
        let text = "The time from the accept of a connection to its end.";
        describe_histogram!(CONNECTION_DURATION, Unit::Seconds, text);
        let last = Numbers::default();
        Self {
            registry,
            last,
            gauges: gauges(&last).map(|(name, _)| gauge!(name)),
            counters: counters(&last).map(|(name, outcome, _)| {
                let labels = outcome.map(|outcome| Label::from_static_parts("outcome", outcome));
                counter!(name, Vec::from_iter(labels))
            }),
        }
    }

    async fn run(&mut self) -> Infallible {
        loop {
            self.publish(Numbers {
                report: self.registry.stats(),
                reserved_bytes: self.registry.reserved_bytes(),
            });
            sleep(INTERVAL).await;
        }
    }

    fn publish(&mut self, now: Numbers) {
        let last = replace(&mut self.last, now);
        let changes = zip(gauges(&now), gauges(&last));
        for (gauge, ((_, now), (_, last))) in zip(&self.gauges, changes) {
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
            // A gauge changes by the difference, because several servers of a process share it. After a `set`, it would
            // show only the last of them.
            gauge.increment(now as f64 - last as f64);
        }
        let changes = zip(counters(&now), counters(&last));
        for (counter, ((.., now), (.., last))) in zip(&self.counters, changes) {
            // Two numbers that are read one after the other may disagree for a moment, but a counter cannot decrease.
            counter.increment(now.saturating_sub(last));
        }
    }
}

/// Publishes the last numbers, even if the server is dropped. Open connections are then aborted.
impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        // This publishes the changes of the last second, and the gauges return to their values without this server.
        self.publish(Numbers {
            report: self.registry.report(),
            reserved_bytes: 0,
        });
    }
}

/// The metrics that each request records. They are kept here, because looking them up takes longer than a cheap
/// request.
pub(super) struct Metrics {
    queue_duration: Histogram,
    /// One for each operation, or one for all requests.
    operations: Vec<Operation>,
}

struct Operation {
    duration: Histogram,
    /// In the order of `CALL_OUTCOMES`.
    calls: [Counter; CALL_OUTCOMES.len()],
}

const CALL_OUTCOMES: [&str; 5] = ["served", "failed", "rejected", "panicked", "dropped"];

impl Metrics {
    pub(super) fn new(operations: &[&'static str]) -> Self {
        Self {
            queue_duration: histogram!(QUEUE_DURATION),
            operations: match operations {
                [] => vec![Operation::new(None)],
                _ => operations
                    .iter()
                    .map(|name| Operation::new(Some(name)))
                    .collect(),
            },
        }
    }
}

impl Operation {
    fn new(name: Option<&'static str>) -> Self {
        let label = name.map(|name| Label::from_static_parts("operation", name));
        Self {
            duration: histogram!(REQUEST_DURATION, Vec::from_iter(label.clone())),
            calls: CALL_OUTCOMES.map(|outcome| {
                let outcome = Label::from_static_parts("outcome", outcome);
                let labels: Vec<_> = label.iter().cloned().chain([outcome]).collect();
                counter!("tcs_calls_total", labels)
            }),
        }
    }
}

/// A call. If it does not return, dropping this value records it.
pub(super) struct Timer<'m> {
    began: Instant,
    /// `None` once the call is recorded.
    operation: Option<&'m Operation>,
}

impl<'m> Timer<'m> {
    /// Starts at the call of an operation. Records the time for which its request has waited.
    pub(super) fn start(metrics: &'m Metrics, arrival: Arrival, operation: usize) -> Self {
        let began = Instant::now();
        if let Some(arrived) = arrival.time {
            metrics.queue_duration.record(began - arrived);
        }
        Self {
            began,
            operation: metrics.operations.get(operation),
        }
    }

    /// Records a call that has returned.
    pub(super) fn record(mut self, outcome: impl FnOnce() -> CallOutcome) {
        if let Some(Operation { duration, calls }) = self.operation.take() {
            let [served, failed, rejected, ..] = calls;
            let call = match outcome() {
                CallOutcome::Served => served,
                CallOutcome::Failed => failed,
                CallOutcome::Rejected => rejected,
            };
            call.increment(1);
            duration.record(self.began.elapsed());
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        if let Some(Operation { duration, calls }) = self.operation {
            let [.., panicked, dropped] = calls;
            if thread::panicking() {
                panicked.increment(1);
            } else {
                dropped.increment(1);
                duration.record(self.began.elapsed());
            }
        }
    }
}

pub(super) fn record_connection(duration: Duration) {
    histogram!(CONNECTION_DURATION).record(duration);
}

pub(super) fn count_rejection(kind: RejectionKind) {
    counter!("tcs_rejections_total", "kind" => kind.name()).increment(1);
}

pub(super) fn count_failed_handshake() {
    counter!("tcs_handshakes_failed_total").increment(1);
}
