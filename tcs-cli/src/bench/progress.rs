//! What a run shows while it runs, and keeps of it.

use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{
    report::{Sample, per_second},
    schedule::Load,
    tally::Tally,
    units::{show_rate, show_time},
};

/// How often what is shown changes at most.
const REFRESH: Duration = Duration::from_millis(250);
/// How many samples a run of a known length has at most.
const MAX_SAMPLES: u32 = 240;

/// Returns how long a sample is.
pub(super) fn sample_length(load: &Load) -> Duration {
    load.duration
        .map_or(REFRESH, |duration| REFRESH.max(duration / MAX_SAMPLES))
}

/// Sums what the connections count, and shows it on standard error if that is a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    load: Load,
    bar: ProgressBar,
    total: Tally,
    samples: Vec<Sample>,
    seen: Duration,
}

impl Progress {
    pub(super) fn new(load: Load) -> Self {
        let length = match (load.requests, load.end()) {
            (Some(requests), _) => requests,
            (None, end) => milliseconds(end.unwrap_or_default()),
        };
        let bar = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:16} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            load,
            bar,
            total: Tally::default(),
            samples: Vec::new(),
            seen: load.warm_up(),
        }
    }

    /// Adds what was counted until `now`, from the start of the run.
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    pub(super) fn add(&mut self, now: Duration, part: &Tally) {
        self.total.add(part);
        if now <= self.load.warm_up() {
            self.bar.set_message("warm-up");
            self.bar.set_position(self.position(now));
            return;
        }
        let length = now.saturating_sub(self.seen);
        let end = now.saturating_sub(self.load.warm_up());
        self.samples.push(Sample::new(end, length, part));
        self.seen = now;
        self.bar.set_position(self.position(now));
        let latencies = &part.latencies;
        let quantile = |quantile| show_time(latencies.value_at_quantile(quantile) as f64);
        let mut message = vec![show_rate(per_second(part.replies, length))];
        if !latencies.is_empty() {
            message.push(format!("p50 {}", quantile(0.5)));
            message.push(format!("p99 {}", quantile(0.99)));
        }
        let errors = self.total.errors();
        if errors > 0 {
            message.push(format!("{} errors", HumanCount(errors)));
        }
        self.bar.set_message(message.join("   "));
    }

    fn position(&self, now: Duration) -> u64 {
        match self.load.requests {
            Some(_) => self.total.replies + self.total.errors(),
            None => milliseconds(now),
        }
    }

    /// Removes what is shown, and returns the sum and its parts.
    pub(super) fn finish(self) -> (Tally, Vec<Sample>) {
        self.bar.finish_and_clear();
        (self.total, self.samples)
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
