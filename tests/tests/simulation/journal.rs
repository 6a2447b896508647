//! What happened in a simulation, and what must not have.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tcs::Execution;
use tokio::runtime::Handle;

/// The events of a simulation, which all hosts write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// When the last step began.
    pub(crate) now: Duration,
    /// Everything that happened, in order.
    pub(crate) lines: Vec<String>,
    /// What must not have happened.
    pub(crate) faults: Vec<String>,
    pub(crate) calls: BTreeMap<u64, CallRecord>,
    /// When which client tried to connect.
    pub(crate) attempts: Vec<(Duration, String)>,
    /// The times at which servers could be reached again.
    pub(crate) returns: Vec<Duration>,
    /// The numbers of times that requests were sent again, and of drains that ended.
    pub(crate) retries: usize,
    pub(crate) drains: usize,
}

/// A call, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct CallRecord {
    pub(crate) client: String,
    pub(crate) is_idempotent: bool,
    /// How often its client wrote it to a connection.
    pub(crate) writes: usize,
    /// The runs of servers that executed it, in order.
    pub(crate) executions: Vec<String>,
    pub(crate) outcome: Option<CallOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// By this run of a server.
    Answered(String),
    /// By the function, in this run of a server.
    Refused(String),
    Failed(Execution),
    /// The caller no longer waited, or its host was lost.
    Dropped,
}

impl Journal {
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("no panic")
    }

    /// Returns the time since the start of the simulation.
    pub(crate) fn now(&self) -> Duration {
        // Outside of a runtime, such as when a host is lost, the clock is the one of the real world.
        let of_host = Handle::try_current()
            .ok()
            .and_then(|_| turmoil::sim_elapsed());
        of_host.unwrap_or_else(|| self.entries().now)
    }

    pub(crate) fn log(&self, host: &str, text: impl Display) {
        let now = self.now().as_millis();
        self.entries()
            .lines
            .push(format!("{now:>6} {host}: {text}"));
    }

    /// Notes what must not have happened.
    pub(crate) fn fault(&self, host: &str, text: impl Display) {
        let text = format!("{host}: {text}");
        self.log("FAULT", &text);
        self.entries().faults.push(text);
    }

    pub(crate) fn begin_call(&self, client: &str, is_idempotent: bool) -> u64 {
        let mut entries = self.entries();
        let id = entries.calls.len() as u64;
        let record = CallRecord {
            client: client.to_owned(),
            is_idempotent,
            ..CallRecord::default()
        };
        entries.calls.insert(id, record);
        id
    }

    pub(crate) fn end_call(&self, id: u64, outcome: CallOutcome) {
        if let Some(call) = self.entries().calls.get_mut(&id) {
            call.outcome = Some(outcome);
        }
    }

    /// Notes that a client wrote a call to a connection. A write that fails has sent nothing (seed 6468).
    pub(crate) fn write(&self, id: u64) {
        if let Some(call) = self.entries().calls.get_mut(&id) {
            call.writes += 1;
        } else {
            self.fault("network", format_args!("call {id} was never made"));
        }
    }

    pub(crate) fn execute(&self, id: u64, run: &str) {
        if let Some(call) = self.entries().calls.get_mut(&id) {
            call.executions.push(run.to_owned());
        } else {
            self.fault(run, format_args!("call {id} was never made"));
        }
    }

    pub(crate) fn attempt(&self, client: &str) {
        let now = self.now();
        self.entries().attempts.push((now, client.to_owned()));
    }

    /// Checks what must hold for each call once everything has ended.
    pub(crate) fn check_calls(&self) {
        let mut faults = Vec::new();
        for (id, call) in &self.entries().calls {
            let times = call.executions.len();
            if times > 1 && !call.is_idempotent {
                faults.push(format!("call {id} was executed {times} times: {call:?}"));
            }
            if times > call.writes {
                faults.push(format!("call {id} was executed and not sent: {call:?}"));
            }
            let is_right = match &call.outcome {
                None => false,
                Some(CallOutcome::Answered(run) | CallOutcome::Refused(run)) => {
                    call.executions.contains(run)
                }
                Some(CallOutcome::Failed(execution)) => match execution {
                    Execution::NotSent => call.writes == 0,
                    // The server may have rejected the connection before.
                    Execution::NotExecuted => times == 0,
                    Execution::Executed => times > 0,
                    // Whoever has not written a request knows.
                    Execution::Unknown => call.writes > 0,
                },
                Some(CallOutcome::Dropped) => true,
            };
            if !is_right {
                faults.push(format!("call {id} has another outcome: {call:?}"));
            }
        }
        for fault in faults {
            self.fault("calls", fault);
        }
    }
}

/// Returns the most of these times within `window`. They are in order.
pub(crate) fn most_within(times: &[Duration], window: Duration) -> usize {
    let within = |(index, first): (usize, &Duration)| {
        times[index..].partition_point(|time| *time < *first + window)
    };
    times
        .iter()
        .enumerate()
        .map(within)
        .max()
        .unwrap_or_default()
}
