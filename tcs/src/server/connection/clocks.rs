//! When each wait of a connection began, and its deadline. Nothing here waits.

use crate::{
    buffer::ReadBuffer,
    server::{
        limits::Limits,
        time::{ClockTime, Deadline, Limit},
    },
};

/// How long an incomplete frame may take once a drain has begun.
pub(super) const DRAINED_FRAME: Limit = Limit::from_secs(1);
/// A deadline is extended by a second for each of this many bytes of a frame that arrive, or of replies that are sent.
///
/// If each byte restarted the clock, a peer that sends a byte now and then could keep its connection forever.
const BYTES_PER_SECOND: usize = 64 * 1024;
/// How long a connection may hold memory that others wait for.
pub(super) const CONTENDED: Limit = Limit::from_secs(2);
/// `CONTENDED` grows by a second for each of this many bytes of a frame that have arrived.
const BYTES_PER_SECOND_OF_MEMORY: usize = 4 << 20;
/// An initial congestion window (RFC 6928).
const WINDOW: usize = 14_600;

/// When the waits of a connection began, each if it is in progress.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Runs from the first wait after a request until the next request. Other frames, such as notices, do not stop it.
    /// Otherwise, a peer could keep its connection without a request.
    idle: Option<ClockTime>,
    /// The number of received requests when `idle` was started. A comparison for each wait costs less than a stop for each
    /// request.
    idle_after: u64,
    /// Runs while the connection waits for the rest of a frame.
    pub(super) frame: Option<ClockTime>,
    /// Runs once this connection has noticed that the server drains.
    pub(super) drain: Option<ClockTime>,
    /// Runs from when the peer has closed its sending half and a function waits. Never stopped: all further functions share
    /// `half_close_timeout`.
    pub(super) half_close: Option<ClockTime>,
    /// Runs while the peer reads more slowly than replies are written.
    pub(super) stall: Option<ClockTime>,
    /// How many bytes of the write buffer had been sent when `stall` was started.
    sent_before_stall: usize,
    /// Runs while this connection holds memory that others wait for.
    pub(super) memory: Option<ClockTime>,
    /// The number of bytes passed to the operating system since `filled`.
    given: usize,
    /// When more than [`WINDOW`] bytes had been passed to the operating system, which sends fewer bytes at once. A reset
    /// destroys bytes that it has not sent.
    filled: Option<ClockTime>,
}

impl Clocks {
    /// Starts the idle clock, unless it has run since the last request. `received` is the number of requests so
    /// far. Returns when the clock started.
    #[inline]
    pub(super) fn start_idle(&mut self, now: ClockTime, received: u64) -> ClockTime {
        self.stop_idle_after_requests(received);
        *self.idle.get_or_insert(now)
    }

    /// Returns `true` if no request has been received since the idle clock was started.
    pub(super) fn is_idle(&self, received: u64) -> bool {
        received == self.idle_after && self.idle.is_some()
    }

    /// Stops the idle clock if requests have been received since it was started.
    #[inline]
    fn stop_idle_after_requests(&mut self, received: u64) {
        if received != self.idle_after {
            self.idle_after = received;
            self.idle = None;
        }
    }

    /// Returns the deadline of the incomplete frame in `read`.
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
            self.idle.get_or_insert(now);
        }
        // A frame that begins after `idle_timeout` has no time: the frames before it were not requests.
        let idle = Deadline::after(self.idle, idle).plus(limit);
        Deadline::after(*self.frame.get_or_insert(now), limit).min(idle)
    }

    /// Starts the clock of `write_timeout`, unless it runs. `sent` bytes of the write buffer have been sent.
    pub(super) fn start_stall(&mut self, now: ClockTime, sent: usize) {
        if self.stall.is_none() {
            (self.stall, self.sent_before_stall) = (Some(now), sent);
        }
    }

    /// Returns when the peer must have read the write buffer. `sent` bytes of it have been sent.
    pub(super) fn stall_deadline(&self, limit: Limit, sent: usize) -> Deadline {
        let transferred = sent.saturating_sub(self.sent_before_stall);
        Deadline::after(self.stall, extended(limit, transferred))
    }

    /// Counts bytes that were passed to the operating system.
    #[inline]
    pub(super) fn count_sent(&mut self, bytes: usize, now: impl FnOnce() -> ClockTime) {
        self.given += bytes;
        if self.given > WINDOW {
            self.given = 0;
            self.filled = Some(now());
        }
    }

    /// Estimates when the operating system has sent all bytes, if that takes at most `limit`. Returns `None` if it has sent
    /// them at once.
    pub(super) fn delivery_deadline(&self, limit: Limit) -> Option<Deadline> {
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
        let mut clocks = Clocks::default();
        assert_eq!(clocks.stall_deadline(LIMIT, 1 << 20), Deadline::NEVER);
        clocks.start_stall(at(100), 1_000);
        // The peer took these bytes before.
        clocks.start_stall(at(200), 100_000);
        for (sent, seconds) in [(1_000, 10), (66_535, 10), (66_536, 11), (132_072, 12)] {
            let expected = after(100, Limit::from_secs(seconds));
            assert_eq!(clocks.stall_deadline(LIMIT, sent), expected, "{sent}");
        }
        clocks.stall = None;
        clocks.start_stall(at(300), 200_000);
        assert_eq!(clocks.stall_deadline(LIMIT, 200_000), after(300, LIMIT));
    }

    #[test]
    fn send_queue_is_filled_by_more_than_a_window() {
        let mut clocks = Clocks::default();
        clocks.count_sent(WINDOW, || at(100));
        assert_eq!(clocks.delivery_deadline(LIMIT), None);
        clocks.count_sent(1, || at(200));
        assert_eq!(clocks.delivery_deadline(LIMIT), Some(after(200, LIMIT)));
        // The count begins anew.
        clocks.count_sent(WINDOW, || at(300));
        assert_eq!(clocks.delivery_deadline(LIMIT), Some(after(200, LIMIT)));
        clocks.count_sent(WINDOW, || at(400));
        assert_eq!(clocks.delivery_deadline(LIMIT), Some(after(400, LIMIT)));
    }
}
