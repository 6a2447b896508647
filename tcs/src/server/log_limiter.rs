//! Limits the log lines that peers can cause, so that a peer cannot fill a disk.

use std::{collections::BTreeMap, mem::take, time::Duration};

use tokio::time::Instant;

use crate::{
    panics::{Payload, lock, panic_text},
    sync::Mutex,
    text::{Escaped, MAX_SHOWN},
};

/// The time after a line in which lines with the same message are left out.
const INTERVAL: Duration = Duration::from_secs(1);

/// The lines that the peers of one server can cause at `INFO` and above, by their message.
#[derive(Debug, Default)]
pub(super) struct LogLimiter(Mutex<BTreeMap<&'static str, Recent>>);

/// The last line with a message.
#[derive(Debug, Default)]
struct Recent {
    logged: Option<Instant>,
    /// The number of lines left out since then.
    left_out: u64,
}

impl LogLimiter {
    /// Returns the number of lines with `message` that were left out since the last one, or `None` if this line is left
    /// out as well.
    pub(super) fn pass(&self, message: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut lines = lock(&self.0);
        let recent = lines.entry(message).or_default();
        let is_recent = |logged| now.duration_since(logged) < INTERVAL;
        if recent.logged.is_some_and(is_recent) {
            recent.left_out += 1;
            return None;
        }
        recent.logged = Some(now);
        Some(take(&mut recent.left_out))
    }
}

/// Logs an event that a peer can cause, at most once per second and message. Events in between are logged at `DEBUG`.
///
/// The field `left_out` of the next line has the number of lines that were left out.
macro_rules! log_limited {
    ($limiter:expr, $level:ident, { $($fields:tt)* }, $message:literal) => {
        log_limited!($limiter, $level, $message, { $($fields)* }, $message)
    };
    // The key is for a message that has several reasons: each reason has its own limit.
    ($limiter:expr, $level:ident, $key:expr, { $($fields:tt)* }, $message:literal) => {
        match $limiter.pass($key) {
            Some(left_out) => {
                let left_out = (left_out > 0).then_some(left_out);
                tracing::$level!($($fields)* left_out, $message);
            }
            None => tracing::debug!($($fields)* $message),
        }
    };
}

pub(super) use log_limited;

/// Logs a panic of `what`. Its text may quote other peers, so they do not receive it.
pub(super) fn log_panic(log_limiter: &LogLimiter, what: &'static str, payload: Payload) {
    let text = panic_text(payload);
    let panic = Escaped::up_to(text.as_bytes(), MAX_SHOWN);
    log_limited!(log_limiter, error, what, { %panic, }, "{what} panicked");
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_per_second_and_message_is_admitted_with_the_number_of_those_left_out() {
        let limiter = LogLimiter::default();
        assert_eq!(limiter.pass("a"), Some(0));
        assert_eq!(limiter.pass("b"), Some(0));
        for _ in 0..3 {
            assert_eq!(limiter.pass("a"), None);
        }
        advance(Duration::from_millis(999)).await;
        assert_eq!(limiter.pass("a"), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(limiter.pass("a"), Some(4));
        assert_eq!(limiter.pass("a"), None);
        assert_eq!(limiter.pass("b"), Some(0));
    }
}
