//! Reports as text.

use std::fmt::Write as _;

use super::{
    report::Report,
    units::{show_bytes, show_count, show_rate, show_time, to_integer},
};

/// Returns a report for people, at most 80 columns wide.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String, more: String| {
        let text_line = format!("{name:<10}{value:>15}   {more}");
        text.push_str(text_line.trim_end());
        text.push('\n');
    };
    let per_second = |bytes: u64| show_bytes(bytes as f64 / report.seconds.max(1e-9)) + "/s";
    line(
        "replies",
        show_count(report.replies),
        show_rate(report.replies_per_second),
    );
    let errors = report.errors.values().sum();
    let kinds: Vec<_> = report
        .errors
        .iter()
        .map(|(kind, requests)| format!("{} {kind}", show_count(*requests)))
        .collect();
    // As many on a line as fit 80 columns.
    let mut lines = kinds.chunks(2).map(|kinds| kinds.join(", "));
    line(
        "errors",
        show_count(errors),
        lines.next().unwrap_or_default(),
    );
    for kinds in lines {
        line("", String::new(), kinds);
    }
    for (name, bytes) in [
        ("sent", report.bytes_sent),
        ("received", report.bytes_received),
    ] {
        line(name, show_bytes(bytes as f64), per_second(bytes));
    }
    let latency = &report.latency_ns;
    text.push_str("latency   ");
    for name in ["p50", "p90", "p99", "p99.9", "max"] {
        let _infallible = write!(text, "{name:>12}");
    }
    text.push_str("\n          ");
    for ns in [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p99_9,
        latency.max,
    ] {
        let shown = if report.percentiles.is_empty() {
            "-".to_owned()
        } else {
            show_time(ns)
        };
        let _infallible = write!(text, "{shown:>12}");
    }
    format!("{}\n\n{text}\n", heading(report))
}

/// Returns what was asked for.
fn heading(report: &Report) -> String {
    let plural = if report.connections == 1 { "" } else { "s" };
    let rate = match report.target_rate {
        Some(rate) => format!("at {}", show_rate(rate)),
        None => "as fast as it goes".to_owned(),
    };
    format!(
        "{}: {} connection{plural}, depth {}, {rate}, {:.1} s",
        report.target, report.connections, report.depth, report.seconds
    )
}

/// Returns two reports side by side, with what the second has for each one of the first.
#[expect(clippy::cast_precision_loss, reason = "a ratio has two digits")]
pub(super) fn compare(a: &Report, b: &Report) -> String {
    let mut text = format!("A  {}\nB  {}\n\n", heading(a), heading(b));
    let _infallible = writeln!(text, "{:<10}{:>15}{:>15}{:>10}", "", "A", "B", "B/A");
    let mut row = |name: &str, show: &dyn Fn(f64) -> String, a: f64, b: f64| {
        let ratio = if a == 0.0 {
            "-".to_owned()
        } else {
            format!("{:.2}", b / a)
        };
        let _infallible = writeln!(text, "{name:<10}{:>15}{:>15}{ratio:>10}", show(a), show(b));
    };
    row(
        "rate",
        &show_rate,
        a.replies_per_second,
        b.replies_per_second,
    );
    let errors = |report: &Report| report.errors.values().sum::<u64>();
    let count = |number: f64| show_count(to_integer(number));
    row("errors", &count, errors(a) as f64, errors(b) as f64);
    let time = |ns: f64| {
        if ns == 0.0 {
            "-".to_owned()
        } else {
            show_time(to_integer(ns))
        }
    };
    let (latency_a, latency_b) = (&a.latency_ns, &b.latency_ns);
    for (name, a, b) in [
        ("p50", latency_a.p50, latency_b.p50),
        ("p90", latency_a.p90, latency_b.p90),
        ("p99", latency_a.p99, latency_b.p99),
        ("p99.9", latency_a.p99_9, latency_b.p99_9),
        ("max", latency_a.max, latency_b.max),
    ] {
        row(name, &time, a as f64, b as f64);
    }
    text
}
