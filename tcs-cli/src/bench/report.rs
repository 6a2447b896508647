//! What a run has found, as JSON.

use std::{collections::BTreeMap, fs, time::Duration};

use serde::{Deserialize, Serialize};

use super::{run::Plan, tally::Tally};
use crate::failure::Failure;

/// The result of a run. `docs/cli-bench.md` describes each field.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Report {
    /// Of `tcs`.
    pub(super) version: String,
    pub(super) target: String,
    pub(super) framing: String,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) warm_up_seconds: f64,
    pub(super) timeout_seconds: f64,
    /// The rate that was asked for.
    pub(super) target_rate: Option<f64>,
    /// From the end of the warm-up to the last reply, or to the end of the time to send.
    pub(super) seconds: f64,
    /// Whether Ctrl-C has ended it.
    pub(super) interrupted: bool,
    pub(super) requests: u64,
    pub(super) replies: u64,
    pub(super) replies_per_second: f64,
    /// Requests without a reply, by kind.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) latency_ns: Latency,
    pub(super) percentiles: Vec<Percentile>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) min: u64,
    pub(super) mean: f64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

/// So many of a hundred requests took at most `ns`. Those that have only waited took at least the time until then.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Percentile {
    pub(super) percentile: f64,
    pub(super) ns: u64,
}

/// A part of the run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Sample {
    /// When it ended, from the end of the warm-up.
    pub(super) seconds: f64,
    pub(super) replies: u64,
    pub(super) replies_per_second: f64,
    pub(super) errors: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) max_ns: u64,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        elapsed: Duration,
        is_interrupted: bool,
        total: &Tally,
        samples: Vec<Sample>,
    ) -> Self {
        let latencies = &total.latencies;
        let replies = total.replies;
        let errors = total.errors.iter();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            target: plan.target.address.clone(),
            framing: plan.framing.to_string(),
            connections: plan.load.connections,
            pipeline: plan.load.pipeline,
            warm_up_seconds: plan.load.warm_up().as_secs_f64(),
            timeout_seconds: plan.load.timeout.as_secs_f64(),
            target_rate: plan.load.rate,
            seconds: elapsed.as_secs_f64(),
            interrupted: is_interrupted,
            requests: replies + total.errors(),
            replies,
            replies_per_second: per_second(replies, elapsed),
            errors: errors
                .map(|(error, requests)| (error.to_string(), *requests))
                .collect(),
            bytes_sent: total.bytes_sent,
            bytes_received: total.bytes_received,
            latency_ns: Latency {
                min: latencies.min(),
                mean: latencies.mean(),
                p50: latencies.value_at_quantile(0.5),
                p90: latencies.value_at_quantile(0.9),
                p99: latencies.value_at_quantile(0.99),
                p99_9: latencies.value_at_quantile(0.999),
                max: latencies.max(),
            },
            percentiles: percentiles(total),
            samples,
        }
    }

    /// Reads a report that [`to_json`](Self::to_json) has made.
    pub(super) fn read(path: &str) -> Result<Self, Failure> {
        let read = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"));
        let parsed = read.and_then(|text| {
            serde_json::from_slice(&text)
                .map_err(|error| format!("{path} is not a result of `tcs bench --json`: {error}"))
        });
        parsed.map_err(|message| {
            Failure::usage(message).hint(format_args!(
                "make one with `tcs bench HOST:PORT … --json > {path}`"
            ))
        })
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("its keys are strings")
    }
}

impl Sample {
    pub(super) fn new(end: Duration, length: Duration, part: &Tally) -> Self {
        let latencies = &part.latencies;
        Self {
            seconds: end.as_secs_f64(),
            replies: part.replies,
            replies_per_second: per_second(part.replies, length),
            errors: part.errors(),
            p50_ns: latencies.value_at_quantile(0.5),
            p99_ns: latencies.value_at_quantile(0.99),
            max_ns: latencies.max(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// Returns ten points from 0 to 90 %, ten from there to 99 %, and so on, as far as there are requests behind them.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
fn percentiles(total: &Tally) -> Vec<Percentile> {
    let count = total.latencies.len() as f64;
    let mut percentiles = Vec::new();
    for step in 0..=60 {
        let beyond = 10_f64.powf(-f64::from(step) / 10.0);
        if count * beyond < 1.0 {
            break;
        }
        percentiles.push(Percentile {
            percentile: 100.0 * (1.0 - beyond),
            ns: total.latencies.value_at_quantile(1.0 - beyond),
        });
    }
    percentiles
}
