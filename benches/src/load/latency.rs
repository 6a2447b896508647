//! How long replies took, in buckets of which each is at most 1/64 of its value wide.

use std::{fmt, time::Duration};

/// The buckets of each power of two: the bits of a number that are kept behind its first.
const BITS: u32 = 6;
const PER_POWER: usize = 1 << BITS;

/// Counts durations; nanoseconds up to those of some centuries.
#[derive(Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; (64 - BITS as usize + 1) * PER_POWER],
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.longest = self.longest.max(latency);
    }

    /// Forgets what was counted.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.longest = Duration::ZERO;
    }

    /// Returns what `part` in `whole` did not exceed; zero if nothing was counted.
    pub fn percentile(&self, part: u64, whole: u64) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total * part).div_ceil(whole);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_nanos(highest(bucket)).min(self.longest);
            }
        }
        Duration::ZERO
    }

    /// Returns the longest.
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

fn bucket(value: u64) -> usize {
    // Below two powers of it, each number has a bucket of its own.
    let power = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    power as usize * PER_POWER + usize::try_from(value >> power).unwrap_or_default()
}

/// Returns the highest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let power = (bucket / PER_POWER).saturating_sub(1);
    let first = (bucket - power * PER_POWER) as u64;
    (first << power) + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_lies_in_a_bucket_that_is_narrow() {
        for value in (0..1_000).chain([123_456, 987_654_321, 1 << 40, u64::MAX - 1, u64::MAX]) {
            let highest = highest(bucket(value));
            assert!(highest >= value, "{value}: {highest}");
            assert!(highest - value <= value / 64, "{value}: {highest}");
            assert_eq!(bucket(highest), bucket(value));
        }
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99, 100), Duration::ZERO);
        for value in (1..=100).rev() {
            latencies.add(Duration::from_nanos(value));
        }
        for percent in [1, 50, 99, 100] {
            let expected = Duration::from_nanos(percent);
            assert_eq!(latencies.percentile(percent, 100), expected);
        }
        latencies.add(Duration::from_secs(7));
        assert_eq!(latencies.percentile(999, 1_000), Duration::from_secs(7));
        assert_eq!(latencies.longest(), Duration::from_secs(7));
        latencies.clear();
        assert_eq!(latencies.longest(), Duration::ZERO);
    }
}
