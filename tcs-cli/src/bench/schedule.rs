//! When requests are due.

use std::time::Duration;

use crate::options::duration;

/// How much is sent, and how fast.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Load {
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    pub(super) connections: usize,
    /// Send up to N requests of a connection before their replies
    ///
    /// As fast as it goes, requests are sent when half of them are answered.
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(super) pipeline: usize,
    /// Requests per second [default: as fast as it goes]
    ///
    /// They are those of all connections. Each is due at its time, whatever the server does, and its latency counts from
    /// that time. So a server that stalls does not slow down the clock that measures it. At the end, what was due is
    /// still sent, for up to --timeout.
    #[arg(short, long, value_name = "N", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// How long [default: 10s, unless --requests]
    #[arg(short = 't', long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// How many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) requests: Option<u64>,
    /// How long to send before anything counts
    #[arg(short, long, value_name = "TIME", value_parser = duration, hide_short_help = true)]
    pub(super) warm_up: Option<Duration>,
    /// How long to wait for a reply
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration,
        hide_short_help = true)]
    pub(super) timeout: Duration,
    /// Open a connection for each request
    ///
    /// The time to connect counts.
    #[arg(long, hide_short_help = true)]
    pub(super) reconnect: bool,
    /// Wait for a message of the server first
    #[arg(long)]
    pub(super) greeting: bool,
}

impl Load {
    /// Returns how long nothing is counted at first.
    pub(super) fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or_default()
    }

    /// Returns when the last requests are due, from the start of the run.
    pub(super) fn end(&self) -> Option<Duration> {
        self.duration
            .map(|duration| self.warm_up().saturating_add(duration))
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=MAX_NUMBER).contains(number))
        .ok_or_else(|| format!("write a number from 1 to {MAX_NUMBER}"))
}

const MAX_NUMBER: usize = 100_000;

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.001..=1e8).contains(rate))
        .ok_or_else(|| "write a number of requests per second, such as 5000".to_owned())
}

/// Returns how many requests of the run are due before `time`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive, and exact up to 2^53 requests"
)]
pub(super) fn count_before(rate: f64, time: Duration) -> u64 {
    let mut count = (time.as_secs_f64() * rate) as u64;
    // The product may be off by one in both directions.
    while count > 0 && due_at(rate, count - 1) >= time {
        count -= 1;
    }
    while due_at(rate, count) < time {
        count += 1;
    }
    count
}

/// Returns when request number `n` of a run is due.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
pub(super) fn due_at(rate: f64, n: u64) -> Duration {
    Duration::try_from_secs_f64(n as f64 / rate).unwrap_or(Duration::MAX)
}

/// The requests of one connection.
///
/// At a rate, the requests of the run take turns among its connections. Each is due at its time, whether or not the
/// requests before it are answered. So a server that stalls does not slow down the clock that measures it.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    load: Load,
    connection: u64,
    /// Whose turn of the mix is next. It is kept here, because a connection may be opened again.
    turn: usize,
    /// How many were taken.
    taken: u64,
    /// How many are still to be counted.
    left: Option<u64>,
}

/// What to do at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send a request that was due at this time, from the start of the run.
    Send(Duration),
    /// The next is not due yet.
    Wait,
    /// There are no more.
    Done,
}

impl Schedule {
    pub(super) fn new(load: Load, connection: usize) -> Self {
        let turn = connection;
        let (connections, connection) = (load.connections as u64, connection as u64);
        let share =
            |requests: u64| requests / connections + u64::from(connection < requests % connections);
        Self {
            load,
            connection,
            turn,
            taken: 0,
            left: load.requests.map(share),
        }
    }

    /// Returns what to do at `now`, from the start of the run.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        let due = self.next_due().unwrap_or(now);
        if due > now {
            return if self.is_over(due) {
                Next::Done
            } else {
                Next::Wait
            };
        }
        if self.is_over(due) {
            return Next::Done;
        }
        self.take(due);
        Next::Send(due)
    }

    /// Returns the turn of the next request, and goes on to that after it.
    pub(super) fn turn(&mut self) -> usize {
        let turn = self.turn;
        self.turn += 1;
        turn
    }

    /// Returns when the requests that would be counted were due until `now` and were not taken: their number, and the
    /// times of the first and the last.
    pub(super) fn unsent(&self, now: Duration) -> Option<(u64, Duration, Duration)> {
        let left = self.left.unwrap_or(u64::MAX);
        let Some(rate) = self.load.rate else {
            // Without a time, they have not waited.
            return self
                .left
                .filter(|left| *left > 0)
                .map(|left| (left, now, now));
        };
        let due = |number| due_at(rate, self.number(number));
        // How many of this connection are due before a time, which is a sum and no loop: there may be many millions.
        let before = |time| self.count_before(rate, time);
        let first = self.taken.max(before(self.load.warm_up()));
        let end = before(now + Duration::from_nanos(1));
        let end = self.load.end().map_or(end, |over| end.min(before(over)));
        let count = end.saturating_sub(first).min(left);
        (count > 0).then(|| (count, due(first), due(first + count - 1)))
    }

    /// Returns how many requests of this connection are due before `time`.
    fn count_before(&self, rate: f64, time: Duration) -> u64 {
        let all = count_before(rate, time);
        let connections = self.load.connections as u64;
        all.saturating_sub(self.connection).div_ceil(connections)
    }

    fn number(&self, taken: u64) -> u64 {
        self.connection + taken * self.load.connections as u64
    }

    fn next_due(&self) -> Option<Duration> {
        let number = self.number(self.taken);
        self.load.rate.map(|rate| due_at(rate, number))
    }

    fn is_over(&self, due: Duration) -> bool {
        self.load.end().is_some_and(|end| due >= end) || self.left == Some(0)
    }

    fn take(&mut self, due: Duration) {
        self.taken += 1;
        if due >= self.load.warm_up()
            && let Some(left) = &mut self.left
        {
            *left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        connections: 2,
        pipeline: 1,
        rate: None,
        warm_up: None,
        timeout: Duration::from_secs(10),
        reconnect: false,
        greeting: false,
        duration: None,
        requests: None,
    };

    /// The times in milliseconds of all requests, when each is taken as soon as it is due.
    fn all(load: Load, connection: usize) -> Vec<u128> {
        let mut schedule = Schedule::new(load, connection);
        let mut all = Vec::new();
        for now in (0..).map(Duration::from_millis) {
            loop {
                match schedule.next(now) {
                    Next::Send(due) => all.push(due.as_millis()),
                    Next::Wait => break,
                    Next::Done => return all,
                }
            }
        }
        all
    }

    #[test]
    fn paced_requests_take_turns_among_connections() {
        let load = Load {
            rate: Some(100.0),
            duration: Some(Duration::from_millis(50)),
            ..LOAD
        };
        assert_eq!(all(load, 0), [0, 20, 40]);
        assert_eq!(all(load, 1), [10, 30]);
        let load = Load {
            requests: Some(3),
            duration: None,
            ..load
        };
        assert_eq!(all(load, 0), [0, 20]);
        assert_eq!(all(load, 1), [10]);
    }

    #[test]
    fn requests_keep_their_time_when_they_are_sent_late() {
        let load = Load {
            connections: 1,
            rate: Some(1000.0),
            duration: Some(Duration::from_millis(4)),
            ..LOAD
        };
        let mut schedule = Schedule::new(load, 0);
        let late = Duration::from_secs(9);
        for due in 0..2 {
            assert_eq!(schedule.next(late), Next::Send(Duration::from_millis(due)));
        }
        let milliseconds = Duration::from_millis;
        let unsent = Some((2, milliseconds(2), milliseconds(3)));
        assert_eq!(schedule.unsent(late), unsent);
        assert_eq!(
            schedule.unsent(milliseconds(2)),
            Some((1, milliseconds(2), milliseconds(2)))
        );
        // So many would take minutes one by one.
        let load = Load {
            rate: Some(1e8),
            duration: Some(Duration::from_secs(1_000)),
            warm_up: Some(Duration::from_secs(500)),
            connections: 4,
            ..load
        };
        let unsent = Schedule::new(load, 1).unsent(Duration::from_mins(150));
        assert_eq!(unsent.map(|(count, ..)| count), Some(25_000_000_000));
    }

    #[test]
    fn warm_up_is_not_counted() {
        let load = Load {
            connections: 1,
            rate: Some(1000.0),
            warm_up: Some(Duration::from_millis(5)),
            requests: Some(3),
            ..LOAD
        };
        assert_eq!(all(load, 0), (0..8).collect::<Vec<_>>());
        // As fast as replies come.
        let mut schedule = Schedule::new(Load { rate: None, ..load }, 0);
        for now in [0, 0, 0, 0, 5, 5, 6].map(Duration::from_millis) {
            assert_eq!(schedule.next(now), Next::Send(now));
        }
        assert_eq!(schedule.next(Duration::from_millis(6)), Next::Done);
    }
}
