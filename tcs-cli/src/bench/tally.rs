//! What a run counts.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;

use super::request_error::RequestError;

/// The longest latency that is recorded, in nanoseconds: an hour. Longer ones count as this.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// How many connections at most count into one tally of their own.
const MAX_TALLIES: usize = 8;

/// Latencies, errors and bytes, of some connections or for some time.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// In nanoseconds. For requests without a reply, the time that they have waited.
    pub(super) latencies: Histogram<u64>,
    pub(super) replies: u64,
    /// When the last reply came, from the start of the run.
    pub(super) last_reply: Option<Duration>,
    /// Requests without a reply, by kind.
    pub(super) errors: HashMap<RequestError, u64>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY, 3)
                .expect("these bounds are valid"),
            replies: 0,
            last_reply: None,
            errors: HashMap::new(),
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

impl Tally {
    pub(super) fn record(&mut self, latency: Duration) {
        self.replies += 1;
        self.wait(latency, 1);
    }

    /// Counts the time of requests that were not answered within it.
    ///
    /// Without them, the slower a server is, the better would be its percentiles.
    pub(super) fn wait(&mut self, waited: Duration, requests: u64) {
        let nanoseconds = waited.as_nanos().try_into().unwrap_or(u64::MAX);
        self.latencies.saturating_record_n(nanoseconds, requests);
    }

    pub(super) fn count_error(&mut self, error: RequestError, requests: u64) {
        if requests > 0 {
            *self.errors.entry(error).or_default() += requests;
        }
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Returns the most frequent error. What was not sent has another reason if there is one.
    pub(super) fn main_error(&self) -> Option<RequestError> {
        let errors = self.errors.iter();
        let weight = |(error, requests): &(&RequestError, &u64)| {
            (
                **error != RequestError::NotSent,
                **requests,
                error.to_string(),
            )
        };
        errors.max_by_key(weight).map(|(error, _)| *error)
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so this cannot fail.
        let _cannot_fail = self.latencies.add(&other.latencies);
        self.replies += other.replies;
        self.last_reply = self.last_reply.max(other.last_reply);
        for (error, requests) in &other.errors {
            self.count_error(*error, *requests);
        }
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

/// The tallies into which the connections count.
///
/// There are a few, so that connections seldom wait for each other, and the memory does not grow with their number.
#[derive(Debug)]
pub(super) struct Tallies(Vec<Mutex<Tally>>);

impl Tallies {
    pub(super) fn new(connections: usize) -> Self {
        let tallies = connections.clamp(1, MAX_TALLIES);
        Self((0..tallies).map(|_| Mutex::default()).collect())
    }

    /// Returns the tally of a connection. Take it once for all that a read brings.
    pub(super) fn of(&self, connection: usize) -> MutexGuard<'_, Tally> {
        lock(&self.0[connection % self.0.len()])
    }

    /// Takes what was counted since the last time.
    pub(super) fn take(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.0 {
            // A histogram is large: it is made before the lock.
            let empty = Tally::default();
            let taken = mem::replace(&mut *lock(tally), empty);
            sum.add(&taken);
        }
        sum
    }
}

/// Counting does not panic, so a tally is whole even if a thread panicked elsewhere.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_not_counted_again() {
        let tallies = Tallies::new(3);
        for connection in 0..3 {
            let mut tally = tallies.of(connection);
            tally.record(Duration::from_micros(100));
            tally.count_error(RequestError::Closed, 2);
            tally.bytes_sent += 10;
        }
        let taken = tallies.take();
        assert_eq!(
            (taken.replies, taken.errors(), taken.bytes_sent),
            (3, 6, 30)
        );
        let taken = tallies.take();
        assert_eq!((taken.replies, taken.errors(), taken.bytes_sent), (0, 0, 0));
    }
}
