//! How busy this process is, and how much it is held up by others.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What a process with one thread had of its core.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// How long it ran.
    pub running: Duration,
    /// How long it could have run, while something else did; zero where the kernel does not tell.
    pub waiting: Duration,
}

impl CpuTime {
    /// Returns what it has been since the process began.
    pub fn now() -> Self {
        let running = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            running: Duration::try_from(running).unwrap_or_default(),
            waiting: waiting().unwrap_or_default(),
        }
    }

    /// Returns what it has been since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            running: self.running.saturating_sub(before.running),
            waiting: self.waiting.saturating_sub(before.waiting),
        }
    }
}

/// The second number of this file are the nanoseconds on a run queue.
fn waiting() -> Option<Duration> {
    let text = fs::read_to_string("/proc/self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(nanoseconds.parse().ok()?))
}
