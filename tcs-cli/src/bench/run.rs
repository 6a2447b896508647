//! A run: its connections, its clock, and what they count.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tcs::{framing::Exchanges, transport::Stream};
use tokio::{
    io::AsyncReadExt as _,
    sync::{Notify, Semaphore},
    task::{JoinError, JoinSet},
    time,
};

use super::{
    connection::{End, exchange},
    request_error::RequestError,
    schedule::{Load, Next, Schedule, count_before, due_at},
    tally::Tallies,
};
use crate::{
    failure::{Exit, Failure},
    framing::FramingSpec,
    target::Connector,
};

/// How many connections are opened at a time, so that the backlog of the server does not overflow.
const OPENING: usize = 64;
/// The first pause before a lost connection is opened again. Each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How long a server must stay silent to count as one that does not speak first.
///
/// No event says that a server will stay silent, so only a time can. It is waited for once, before the clock starts, and
/// nothing depends on it: a server that speaks later was not noticed, as `docs/cli-bench.md` says.
const SILENCE: Duration = Duration::from_millis(100);
/// The maximum number of records for the requests of a connection that were not sent.
const PARTS: u64 = 1_000;
/// The longest sleep of the pacer, after which it looks whether the run has ended.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// What is sent, and how.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) target: Connector,
    pub(super) framing: FramingSpec,
    /// The different requests.
    pub(super) requests: Vec<Vec<u8>>,
    /// The order in which they take turns.
    pub(super) order: Vec<usize>,
    pub(super) load: Load,
    /// What each reply begins with.
    pub(super) expected: Arc<[u8]>,
}

/// What all connections of a run share.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) tallies: Tallies,
    start: OnceLock<Instant>,
    is_stopped: AtomicBool,
    /// One for each connection of a run at a rate: a request may be due.
    due: Vec<Notify>,
}

impl Run {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        let paced = match plan.load.rate {
            Some(_) => plan.load.connections,
            None => 0,
        };
        Arc::new(Self {
            tallies: Tallies::new(plan.load.connections),
            start: OnceLock::new(),
            is_stopped: AtomicBool::new(false),
            due: (0..paced).map(|_| Notify::new()).collect(),
            plan,
        })
    }

    /// Opens all connections, then starts the clock and the work. The tasks end when all is sent and answered.
    ///
    /// # Errors
    ///
    /// Returns why a connection cannot be opened, and what to do.
    pub(super) async fn start(self: &Arc<Self>) -> Result<JoinSet<Result<(), Failure>>, Failure> {
        // Where a request has its own connection, only the first is opened before.
        let connections = if self.has_one_exchange() {
            1
        } else {
            self.plan.load.connections
        };
        let mut streams = self.open(connections).await?;
        if !self.plan.load.greeting
            && let Some(first) = streams.first_mut()
        {
            stays_silent(first).await?;
        }
        let mut streams = streams.into_iter();
        self.start.get_or_init(Instant::now);
        let mut tasks = JoinSet::new();
        for number in 0..self.plan.load.connections {
            tasks.spawn(Arc::clone(self).work(number, streams.next()));
        }
        if self.plan.load.rate.is_some() {
            let run = Arc::downgrade(self);
            thread::spawn(move || pace(&run));
        }
        Ok(tasks)
    }

    async fn open(self: &Arc<Self>, connections: usize) -> Result<Vec<Stream>, Failure> {
        let opening = Arc::new(Semaphore::new(OPENING));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (run, opening) = (Arc::clone(self), Arc::clone(&opening));
            tasks.spawn(async move {
                let _permit = opening.acquire_owned().await;
                run.plan.target.connect().await
            });
        }
        let mut streams = Vec::new();
        while let Some(opened) = tasks.join_next().await {
            let opened = opened.unwrap_or_else(|error| Err(panicked(&error)));
            streams.push(opened.map_err(|failure| self.unopened(streams.len(), failure))?);
        }
        Ok(streams)
    }

    /// Says how many connections there were before one failed.
    fn unopened(&self, opened: usize, failure: Failure) -> Failure {
        if opened == 0 {
            return failure;
        }
        let wanted = self.plan.load.connections;
        failure
            .within(format_args!(
                "{opened} of {wanted} connections were opened; then: "
            ))
            .hint("ask for fewer --connections, or raise the limits of both ends (ulimit -n)")
    }

    /// Does the work of one connection, and connects again when it is lost.
    async fn work(
        self: Arc<Self>,
        number: usize,
        mut stream: Option<Stream>,
    ) -> Result<(), Failure> {
        let mut schedule = Schedule::new(self.plan.load, number);
        let mut outage: Option<Outage> = None;
        loop {
            let began = Instant::now();
            let end = self.attempt(number, stream.take(), &mut schedule).await?;
            match end {
                End::Done => break,
                End::Next | End::Lost { was_answered: true } => {
                    outage = None;
                    continue;
                }
                End::Lost { .. } => {}
            }
            let is_done = self.is_stopped()
                || self.is_late()
                || schedule.clone().next(self.elapsed()) == Next::Done;
            let outage = outage.get_or_insert(Outage {
                since: began,
                pause: PAUSE,
            });
            // A run of a known length has it, whatever the server does.
            let is_over = self.plan.load.end().is_none_or(|end| self.elapsed() >= end);
            if is_done || (is_over && outage.since.elapsed() >= self.plan.load.timeout) {
                break;
            }
            time::sleep(outage.pause).await;
            outage.pause = MAX_PAUSE.min(outage.pause * 2);
        }
        if !self.is_stopped() {
            self.count_unsent(number, &schedule);
        }
        Ok(())
    }

    fn count_unsent(&self, number: usize, schedule: &Schedule) {
        let now = self.elapsed();
        let Some((count, first, last)) = schedule.unsent(now) else {
            return;
        };
        let mut tally = self.tallies.of(number);
        tally.count_error(RequestError::NotSent, count);
        if self.plan.load.rate.is_none() {
            return;
        }
        // They are evenly spread, and many: they are recorded in parts.
        let parts = count.min(PARTS);
        for part in 0..parts {
            let at = |part: u64| count * part / parts;
            let due = first + last.saturating_sub(first).mul_f64(ratio(part, parts));
            tally.wait(now.saturating_sub(due), at(part + 1) - at(part));
        }
    }

    /// Uses a connection, a new one if there is none, until it is lost or nothing is left to send.
    async fn attempt(
        &self,
        number: usize,
        stream: Option<Stream>,
        schedule: &mut Schedule,
    ) -> Result<End, Failure> {
        // Where a connection has one exchange, opening it is a part of the request.
        let mut taken = None;
        if self.has_one_exchange() {
            taken = self.next(number, schedule).await;
            if taken.is_none() {
                return Ok(End::Done);
            }
        }
        let opened = match stream {
            Some(stream) => Ok(stream),
            None => self.plan.target.connect().await,
        };
        let Ok(opened) = opened else {
            let taken = taken.filter(|due| self.is_counted(*due));
            let failed = u64::from(taken.is_some());
            self.tallies
                .of(number)
                .count_error(RequestError::NotConnected, failed);
            return Ok(End::Lost {
                was_answered: false,
            });
        };
        exchange(self, number, opened, schedule, taken).await
    }

    /// Waits until the next request is due, and returns when it was.
    async fn next(&self, number: usize, schedule: &mut Schedule) -> Option<Duration> {
        loop {
            if self.is_stopped() || self.is_late() {
                return None;
            }
            match schedule.next(self.elapsed()) {
                Next::Send(due) => return Some(due),
                Next::Wait => self.due(number).await,
                Next::Done => return None,
            }
        }
    }

    /// Waits until a request of a connection may be due.
    pub(super) async fn due(&self, number: usize) {
        if let Some(due) = self.due.get(number) {
            due.notified().await;
        }
    }

    /// Returns `true` if a connection carries one request.
    pub(super) fn has_one_exchange(&self) -> bool {
        self.plan.load.reconnect || self.plan.framing.exchanges() != Exchanges::Many
    }

    /// Returns the time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Returns `true` if what was due at this time counts: the warm-up is over.
    pub(super) fn is_counted(&self, due: Duration) -> bool {
        due >= self.plan.load.warm_up()
    }

    /// Sends nothing more.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        for due in &self.due {
            due.notify_one();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Returns `true` if even requests that were due in time are not sent any more.
    pub(super) fn is_late(&self) -> bool {
        let end = self.plan.load.end();
        end.is_some_and(|end| self.elapsed() >= end.saturating_add(self.plan.load.timeout))
    }
}

/// Fails if the server speaks first, which would be taken for the first reply, and each reply for that of the next
/// request.
async fn stays_silent(stream: &mut Stream) -> Result<(), Failure> {
    match time::timeout(SILENCE, stream.read(&mut [0; 64])).await {
        Ok(Ok(1..)) => Err(Failure::new(
            Exit::Protocol,
            "the server speaks before the first request",
        )
        .hint("wait for its first message with --greeting")),
        _ => Ok(()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "both are small")]
fn ratio(part: u64, parts: u64) -> f64 {
    part as f64 / parts as f64
}

/// A connection that gets no replies.
struct Outage {
    since: Instant,
    pause: Duration,
}

/// Wakes connections when their requests are due.
///
/// It is a thread, because the timers of the runtime have a resolution of a millisecond, which would be added to every
/// latency. The connections know themselves what is due, so a wake-up too many does no harm.
fn pace(run: &Weak<Run>) {
    let mut number = 0;
    while let Some(run) = run.upgrade() {
        let load = &run.plan.load;
        let Some(rate) = load.rate else { return };
        let now = run.elapsed();
        let due = count_before(rate, now + Duration::from_nanos(1));
        // After a pause of this thread, each connection is woken once.
        let connections = load.connections as u64;
        for connection in number.max(due.saturating_sub(connections))..due {
            let connection = usize::try_from(connection % connections).unwrap_or_default();
            run.due[connection].notify_one();
        }
        number = number.max(due);
        let sleep = MAX_SLEEP.min(due_at(rate, number).saturating_sub(now));
        if run.is_stopped() {
            return;
        }
        drop(run);
        thread::sleep(sleep);
    }
}

pub(super) fn panicked(error: &JoinError) -> Failure {
    Failure::new(
        Exit::Protocol,
        format_args!("a connection has panicked: {error}"),
    )
    .hint("this is a mistake in tcs: report it")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tcs::testing::FaultyStream;
    use tokio::io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, duplex,
    };

    use super::*;
    use crate::bench::Measure;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        measure: Measure,
    }

    /// Sends one request over a stream, and waits until it is answered or late.
    async fn exchanged(framing: &str, stream: impl AsyncRead + AsyncWrite + Unpin) -> (End, u64) {
        let line = ["bench", "localhost:1", "hello", "-n", "1", "-f", framing];
        let line = line.into_iter().chain(["-c", "1", "--timeout", "300ms"]);
        let plan = Command::parse_from(line).measure.plan();
        let run = Run::new(plan.expect("it is complete"));
        run.start.get_or_init(Instant::now);
        let mut schedule = Schedule::new(run.plan.load, 0);
        let taken = if run.has_one_exchange() {
            run.next(0, &mut schedule).await
        } else {
            None
        };
        let end = exchange(&run, 0, stream, &mut schedule, taken);
        let end = time::timeout(Duration::from_secs(10), end).await;
        let end = end.expect("--timeout ends it").expect("it is sent");
        (end, run.tallies.take().errors())
    }

    #[tokio::test]
    async fn nothing_is_left_in_what_writes() {
        let (near, mut far) = duplex(64);
        let answer = async {
            let mut request = [0; 6];
            let _late = time::timeout(Duration::from_secs(1), far.read_exact(&mut request)).await;
            let _gone = far.write_all(b"ok\n").await;
            request
        };
        let stream = BufWriter::new(near);
        let ((end, errors), request) = tokio::join!(exchanged("lines", stream), answer);
        assert_eq!((end, errors, &request), (End::Done, 0, b"hello\n"));
    }

    #[tokio::test]
    async fn timeout_ends_a_close_that_takes_too_long() {
        let (near, _far) = duplex(64);
        let (_, errors) = exchanged("until-eof", FaultyStream::new(near).unclosable()).await;
        assert_eq!(errors, 1);
    }
}
