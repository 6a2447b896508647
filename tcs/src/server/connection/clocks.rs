//! The clocks of a connection: when each of its waits began, and the deadlines that follow. Nothing here waits.

use crate::{
    buffer::ReadBuffer,
    server::{
        limits::Limits,
        time::{ClockTime, Deadline, Limit},
    },
};

/// How long a started frame may take to complete once a drain has begun.
pub(super) const DRAINED_FRAME: Limit = Limit::from_secs(1);
/// A deadline moves by a second for each of this many bytes of a frame that arrive, or of replies that
/// the peer takes.
///
/// If the clock restarted with each byte instead, a peer that transfers a byte now and then could hold its
/// connection forever.
const BYTES_PER_SECOND: usize = 64 * 1024;
/// How long a connection may hold memory that others wait for.
pub(super) const CONTENDED: Limit = Limit::from_secs(2);
/// `CONTENDED` grows by a second for each of this many bytes of a frame that have arrived.
const BYTES_PER_SECOND_OF_MEMORY: usize = 4 << 20;
/// An initial congestion window (RFC 6928).
const WINDOW: usize = 14_600;

/// The clocks of a connection.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Runs from the first wait after a request until the next request. A frame that is not a request, such as a
    /// notice, does not stop this clock, or a peer could hold its connection without a request.
    idle: Stopwatch,
    /// How many requests had been received when `idle` was started. Comparing once for each wait is cheaper than
    /// stopping the clock with each request.
    idle_after: u64,
    /// Runs while the connection waits for the rest of a frame.
    pub(super) frame: Stopwatch,
    /// Runs once this connection has noticed that the server drains.
    pub(super) drain: Stopwatch,
    /// Runs once this connection has noticed, before or while a function waited, that the peer has closed its
    /// sending half. Never stopped: all further functions share the time of `half_close_timeout`.
    pub(super) half_close: Stopwatch,
    pub(super) stall: StallClock,
    /// Runs while this connection holds memory that others wait for.
    pub(super) memory: Stopwatch,
    pub(super) send_queue: SendQueueEstimate,
}

impl Clocks {
    /// Starts the idle clock, unless it has run since the last request. `received` is the number of requests so
    /// far. Returns when the clock started.
    #[inline]
    pub(super) fn start_idle(&mut self, now: ClockTime, received: u64) -> ClockTime {
        self.stop_idle_after_requests(received);
        self.idle.start(now)
    }

    /// Returns `true` if no request has been received since the idle clock was started.
    pub(super) fn is_idle(&self, received: u64) -> bool {
        received == self.idle_after && self.idle.is_running()
    }

    /// Stops the idle clock if requests have been received since it was started.
    #[inline]
    fn stop_idle_after_requests(&mut self, received: u64) {
        if received != self.idle_after {
            self.idle_after = received;
            self.idle.stop();
        }
    }

    /// Returns when the frame in `read`, which has arrived in part, must be complete.
    #[cold]
    pub(super) fn frame_deadline(
        &mut self,
        limits: &Limits,
        idle: Limit,
        read: &ReadBuffer,
        now: ClockTime,
        received: u64,
    ) -> Deadline {
        let limit = frame_limit(limits, read.arrived_of_frame());
        self.stop_idle_after_requests(received);
        // Idle time does not pass while a rejected message is skipped.
        if !read.is_skipping() {
            self.idle.start(now);
        }
        // A frame that starts after `idle_timeout` gets no time: the frames before it were not requests.
        let idle = self.idle.deadline(idle).plus(limit);
        Deadline::after(self.frame.start(now), limit).min(idle)
    }
}

/// The start of a wait, if one is in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stopwatch(Option<ClockTime>);

impl Stopwatch {
    /// Starts the clock, unless it runs. Returns when it started.
    #[inline]
    pub(super) fn start(&mut self, now: ClockTime) -> ClockTime {
        *self.0.get_or_insert(now)
    }

    #[inline]
    pub(super) const fn stop(&mut self) {
        self.0 = None;
    }

    #[inline]
    pub(super) const fn is_running(self) -> bool {
        self.0.is_some()
    }

    /// Returns the end of `limit`, or [`Deadline::NEVER`] if the clock does not run.
    #[inline]
    pub(super) fn deadline(self, limit: Limit) -> Deadline {
        match self.0 {
            Some(began) => Deadline::after(began, limit),
            None => Deadline::NEVER,
        }
    }
}

/// The clock of a peer that reads more slowly than replies are written.
#[derive(Debug, Default)]
pub(super) struct StallClock {
    clock: Stopwatch,
    /// How many bytes of the write buffer had been sent when the clock started.
    sent: usize,
}

impl StallClock {
    /// Starts the clock, unless it runs. `sent` bytes of the write buffer have been sent.
    pub(super) fn start(&mut self, now: ClockTime, sent: usize) {
        if !self.clock.is_running() {
            self.sent = sent;
        }
        self.clock.start(now);
    }

    #[inline]
    pub(super) const fn stop(&mut self) {
        self.clock.stop();
    }

    pub(super) const fn is_running(&self) -> bool {
        self.clock.is_running()
    }

    /// Returns when the peer must have read the write buffer. `sent` bytes of it have been sent.
    pub(super) fn deadline(&self, limit: Limit, sent: usize) -> Deadline {
        let transferred = sent.saturating_sub(self.sent);
        self.clock.deadline(extended(limit, transferred))
    }
}

/// Estimates whether the operating system has sent all bytes that it was given. A reset destroys unsent bytes.
#[derive(Debug, Default)]
pub(super) struct SendQueueEstimate {
    /// The number of bytes since `filled`.
    bytes: usize,
    /// When the operating system was last given more than [`WINDOW`] bytes. Fewer bytes leave at once.
    filled: Option<ClockTime>,
}

impl SendQueueEstimate {
    /// Counts bytes that were given to the operating system.
    #[inline]
    pub(super) fn count(&mut self, bytes: usize, now: impl FnOnce() -> ClockTime) {
        self.bytes += bytes;
        if self.bytes > WINDOW {
            self.bytes = 0;
            self.filled = Some(now());
        }
    }

    /// Returns the end of `limit`, which began when the queue was last filled. Returns `None` if it never was.
    pub(super) fn deadline(&self, limit: Limit) -> Option<Deadline> {
        self.filled.map(|filled| Deadline::after(filled, limit))
    }
}

/// Returns how long a frame may take when `arrived` bytes of it have arrived.
pub(super) fn frame_limit(limits: &Limits, arrived: usize) -> Limit {
    extended(limits.frame_timeout, arrived)
}

/// Returns how long a client may take to give credit. `credit` is the credit after the last item. Below zero, the client may
/// still receive that item: it gets a second for each 64 KiB beyond the credit, as for a reply.
pub(super) fn credit_limit(limits: &Limits, credit: i64) -> Limit {
    let beyond = usize::try_from(credit.saturating_neg()).unwrap_or_default();
    extended(limits.write_timeout, beyond)
}

/// Returns how long a connection may hold memory that others wait for, when `arrived` bytes of its frame have arrived.
pub(super) const fn memory_limit(arrived: usize) -> Limit {
    CONTENDED.plus_seconds((arrived / BYTES_PER_SECOND_OF_MEMORY) as u64)
}

/// Returns the limit for a wait in which this many bytes were transferred.
const fn extended(limit: Limit, transferred: usize) -> Limit {
    limit.plus_seconds((transferred / BYTES_PER_SECOND) as u64)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;

    const LIMIT: Limit = Limit::from_secs(10);

    fn at(milliseconds: u64) -> ClockTime {
        NonZero::new(milliseconds).expect("time starts later")
    }

    fn after(began: u64, limit: Limit) -> Deadline {
        Deadline::after(at(began), limit)
    }

    #[test]
    fn clock_that_runs_is_not_started_again() {
        let mut clock = Stopwatch::default();
        assert_eq!(clock.deadline(LIMIT), Deadline::NEVER);
        clock.start(at(100));
        clock.start(at(200));
        assert_eq!(clock.deadline(LIMIT), after(100, LIMIT));
        clock.stop();
        clock.start(at(300));
        assert_eq!(clock.deadline(LIMIT), after(300, LIMIT));
        assert_eq!(clock.deadline(Limit::NONE), Deadline::NEVER);
    }

    #[test]
    fn frame_keeps_its_memory_for_two_seconds_and_one_for_each_4_mib() {
        for (arrived, seconds) in [(0, 2), ((4 << 20) - 1, 2), (4 << 20, 3), (9 << 20, 4)] {
            assert_eq!(
                memory_limit(arrived),
                Limit::from_secs(seconds),
                "{arrived}"
            );
        }
    }

    #[test]
    fn peer_earns_a_second_for_each_64_kib_that_it_takes_after_the_start() {
        let mut stall = StallClock::default();
        assert_eq!(stall.deadline(LIMIT, 1 << 20), Deadline::NEVER);
        stall.start(at(100), 1_000);
        // The peer took these bytes before.
        stall.start(at(200), 100_000);
        for (sent, seconds) in [(1_000, 10), (66_535, 10), (66_536, 11), (132_072, 12)] {
            let expected = after(100, Limit::from_secs(seconds));
            assert_eq!(stall.deadline(LIMIT, sent), expected, "{sent}");
        }
        stall.stop();
        stall.start(at(300), 200_000);
        assert_eq!(stall.deadline(LIMIT, 200_000), after(300, LIMIT));
    }

    #[test]
    fn send_queue_is_filled_by_more_than_a_window() {
        let mut queue = SendQueueEstimate::default();
        queue.count(WINDOW, || at(100));
        assert_eq!(queue.deadline(LIMIT), None);
        queue.count(1, || at(200));
        assert_eq!(queue.deadline(LIMIT), Some(after(200, LIMIT)));
        // The count begins anew.
        queue.count(WINDOW, || at(300));
        assert_eq!(queue.deadline(LIMIT), Some(after(200, LIMIT)));
        queue.count(WINDOW, || at(400));
        assert_eq!(queue.deadline(LIMIT), Some(after(400, LIMIT)));
    }
}
