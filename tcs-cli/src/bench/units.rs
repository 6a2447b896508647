//! Numbers as people read them.

use std::time::Duration;

use indicatif::HumanFloatCount;

/// Returns a time of `nanoseconds`, such as `85.25µs`, or `-` if there was nothing to measure.
pub(super) fn show_time(nanoseconds: f64) -> String {
    match Duration::from_secs_f64(nanoseconds / 1e9) {
        Duration::ZERO => "-".to_owned(),
        time => format!("{time:.2?}"),
    }
}

/// Returns a rate, such as `123,456.7/s`.
pub(super) fn show_rate(rate: f64) -> String {
    format!("{:.1}/s", HumanFloatCount(rate))
}
