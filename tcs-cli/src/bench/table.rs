//! Reports as text, at most 80 columns wide.

use std::fmt::Write as _;

use indicatif::{BinaryBytes, HumanCount, HumanFloatCount};

use super::{
    report::{Latency, Report},
    units::{show_rate, show_time},
};

/// Returns a report for people.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "bytes per second are positive, and three digits of them are of use"
)]
pub(super) fn report(report: &Report) -> String {
    let mut text = heading(report) + "\n\n";
    let mut line = |name: &str, value: String, more: String| {
        let line = format!("{name:<10}{value:>15}   {more}");
        let _infallible = writeln!(text, "{}", line.trim_end());
    };
    let replies = HumanCount(report.replies).to_string();
    line("replies", replies, show_rate(report.replies_per_second));
    let errors = report.errors.iter();
    let kinds = errors.map(|(kind, requests)| format!("{} {kind}", HumanCount(*requests)));
    let kinds: Vec<_> = kinds.collect();
    // As many on a line as fit 80 columns.
    let mut lines = kinds.chunks(2).map(|kinds| kinds.join(", "));
    let errors = HumanCount(report.errors.values().sum()).to_string();
    line("errors", errors, lines.next().unwrap_or_default());
    for kinds in lines {
        line("", String::new(), kinds);
    }
    for (name, bytes) in [
        ("sent", report.bytes_sent),
        ("received", report.bytes_received),
    ] {
        let rate = BinaryBytes((bytes as f64 / report.seconds.max(1e-9)) as u64);
        line(name, BinaryBytes(bytes).to_string(), format!("{rate}/s"));
    }
    let columns = quantiles(&report.latency_ns).map(|(name, ns)| {
        let time = show_time(ns);
        (format!("{name:>12}"), format!("{time:>12}"))
    });
    let (names, times): (String, String) = columns.into_iter().unzip();
    format!("{text}latency   {names}\n          {times}\n")
}

/// Returns what is shown of latencies, in nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn quantiles(latency: &Latency) -> [(&'static str, f64); 5] {
    [
        ("p50", latency.p50 as f64),
        ("p90", latency.p90 as f64),
        ("p99", latency.p99 as f64),
        ("p99.9", latency.p99_9 as f64),
        ("max", latency.max as f64),
    ]
}

/// Returns what was asked for.
fn heading(report: &Report) -> String {
    let plural = if report.connections == 1 { "" } else { "s" };
    let rate = match report.target_rate {
        Some(rate) => format!("at {}", show_rate(rate)),
        None => "as fast as it goes".to_owned(),
    };
    format!(
        "{}: {} connection{plural}, pipeline {}, {rate}, {:.1} s",
        report.target, report.connections, report.pipeline, report.seconds
    )
}

/// Returns two reports side by side, with what the second has for each one of the first.
#[expect(clippy::cast_precision_loss, reason = "a ratio has two digits")]
pub(super) fn compare(a: &Report, b: &Report) -> String {
    let mut text = format!("A  {}\nB  {}\n\n", heading(a), heading(b));
    let _infallible = writeln!(text, "{:<10}{:>15}{:>15}{:>10}", "", "A", "B", "B/A");
    let mut row = |name: &str, show: fn(f64) -> String, a: f64, b: f64| {
        let ratio = match a {
            0.0 => "-".to_owned(),
            a => format!("{:.2}", b / a),
        };
        let _infallible = writeln!(text, "{name:<10}{:>15}{:>15}{ratio:>10}", show(a), show(b));
    };
    let (rate_a, rate_b) = (a.replies_per_second, b.replies_per_second);
    row("rate", show_rate, rate_a, rate_b);
    let errors = |report: &Report| report.errors.values().sum::<u64>() as f64;
    let count = |number| HumanFloatCount(number).to_string();
    row("errors", count, errors(a), errors(b));
    for ((name, a), (_, b)) in quantiles(&a.latency_ns)
        .into_iter()
        .zip(quantiles(&b.latency_ns))
    {
        row(name, show_time, a, b);
    }
    text
}
