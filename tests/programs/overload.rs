//! Measures the curves of `docs/overload.md`, and prints its tables and plots. Takes two minutes.
//!
//! ```text
//! cargo run --release -p tcs-tests --bin overload
//! ```
//!
//! With `--check`, on a machine that is not busy: fails unless 1, 2, 5 and 10 times the capacity each leave 90 % of the
//! peak, and all that is served is served in time.

use std::time::Duration;

use tcs_tests::overload::Load;

const LIMIT: Duration = Duration::from_millis(20);
/// The longest time after which a reply is of use.
const PATIENCE: Duration = Duration::from_millis(250);
const FACTORS: [u32; 5] = [1, 2, 5, 10, 20];

fn main() {
    let must_check = std::env::args().any(|argument| argument == "--check");
    for load in [Load::Computing, Load::Long, Load::Waiting, Load::Blocking] {
        println!("\n## {load:?}\n");
        println!(
            "| offered, of the capacity | served without a limit | p99 | served | busy | p50 | p99 |"
        );
        println!("|---|---|---|---|---|---|---|");
        let mut curves = [Vec::new(), Vec::new()];
        let mut slowest = Duration::ZERO;
        for factor in FACTORS {
            let rate = factor * load.capacity();
            let mut cells = Vec::new();
            for (curve, limit) in curves.iter_mut().zip([None, Some(LIMIT)]) {
                let mut answered = load.offer(rate, limit);
                let served = answered.served_within(PATIENCE);
                curve.push(served);
                cells.push(format!("{served}/s"));
                if limit.is_some() {
                    slowest = slowest.max(answered.percentile(99));
                    cells.push(format!("{}/s", answered.busy_per_second()));
                    cells.push(milliseconds(answered.percentile(50)));
                }
                cells.push(milliseconds(answered.percentile(99)));
            }
            println!("| {factor} × | {} |", cells.join(" | "));
        }
        println!("\n```mermaid\nxychart-beta");
        println!("    x-axis \"offered, of the capacity\" {FACTORS:?}");
        println!("    y-axis \"served within 250 ms, per second\"");
        for curve in &curves {
            let curve: Vec<_> = curve.iter().map(ToString::to_string).collect();
            println!("    line [{}]", curve.join(", "));
        }
        println!("```");
        // Two dozen long calls in a second are too few to compare.
        if must_check && !matches!(load, Load::Long) {
            check(&curves[1], slowest);
        }
    }
}

/// Fails unless 1, 2, 5 and 10 times the capacity each leave 90 % of the peak, and unless 99 % of what is served at each
/// factor is served in time, also at 20.
fn check(curve: &[usize], slowest: Duration) {
    let peak = curve.iter().max().copied().unwrap_or_default();
    for (factor, served) in FACTORS.iter().zip(curve) {
        let is_near = 10 * served >= 9 * peak;
        assert!(
            is_near || *factor > 10,
            "{factor} ×: {served} of {peak} per second"
        );
    }
    assert!(slowest <= PATIENCE, "{slowest:?}");
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
