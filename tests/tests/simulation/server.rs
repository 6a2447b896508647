//! The hosts that serve.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tcs::{
    ConcurrentServer,
    framing::Multiplexed,
    protocol::ServerProtocol,
    server::{Report, ServerHandle},
    server_protocol,
};
use tcs_tests::adds_up;
use tokio::{runtime::Handle, time::sleep};

use crate::{
    journal::{CallOutcome, Journal},
    net::{NetListener, OnCall},
};

pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server keeps a connection whose peer is gone and whose requests have ended, and a second for the sweep, the
/// linger and the network.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_secs(IDLE_TIMEOUT.as_secs() + 1);
/// The sweep that finds the end of the drain, what a closing connection lingers, and two steps.
const DRAIN_SLACK: Duration = Duration::from_millis(400);

/// What a call asks for: how long it takes, how much it sends and gets, and whether it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) wait: Duration,
    pub(crate) length: usize,
    pub(crate) is_refused: bool,
    /// What stands behind the rest.
    pub(crate) filler: usize,
}

impl Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wait = self.wait.as_millis();
        let refused = u8::from(self.is_refused);
        // The number as `net::Scanner` finds it.
        let filler = "f".repeat(self.filler);
        write!(f, "<{}> {wait} {} {refused} {filler}", self.id, self.length)
    }
}

impl Order {
    fn parse(text: &str) -> Self {
        let parts = text.split(' ').map(|it| it.trim_matches(['<', '>']));
        let mut numbers = parts.map(|it| it.parse().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        Self {
            id: next(),
            wait: Duration::from_millis(next()),
            length: usize::try_from(next()).expect("short"),
            is_refused: next() > 0,
            filler: 0,
        }
    }
}

/// One run of a server, from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct Run(Arc<RunState>);

#[derive(Debug)]
struct RunState {
    /// Its host and its number, such as `server-1#3`.
    name: String,
    journal: Journal,
    accepted: AtomicU64,
    /// How many calls were read from connections, executed, and executed to their end; and how many replies were written.
    arrived: AtomicU64,
    executed: AtomicU64,
    completed: AtomicU64,
    replied: AtomicU64,
    running: AtomicU64,
}

impl Run {
    async fn execute(&self, order: &str) -> Result<String, String> {
        let order = Order::parse(order);
        let mut execution = ExecutionGuard::begin(Arc::clone(&self.0), order.id);
        if !order.wait.is_zero() {
            sleep(order.wait).await;
        }
        execution.is_complete = true;
        if order.is_refused {
            return Err(refusal(order.id, &self.0.name));
        }
        Ok(reply(order.id, &self.0.name, order.length))
    }
}

/// Returns the reply to a call.
fn reply(id: u64, run: &str, length: usize) -> String {
    format!("<{id}> {run} {}", "x".repeat(length))
}

/// Returns the error of a call that is refused.
fn refusal(id: u64, run: &str) -> String {
    format!("<{id}> is refused by {run}")
}

/// Returns who has refused, if this is the error of that call.
pub(crate) fn refused_by(order: &Order, text: &str) -> Option<String> {
    let run = text.rsplit(' ').next()?;
    (order.is_refused && text == refusal(order.id, run)).then(|| run.to_owned())
}

/// Returns who has answered, if this is the reply to that call.
pub(crate) fn answered_by(order: &Order, text: &str) -> Option<String> {
    let run = text.split(' ').nth(1)?;
    (text == reply(order.id, run, order.length)).then(|| run.to_owned())
}

/// A function that runs.
struct ExecutionGuard {
    run: Arc<RunState>,
    id: u64,
    is_complete: bool,
}

impl ExecutionGuard {
    fn begin(run: Arc<RunState>, id: u64) -> Self {
        run.executed.fetch_add(1, Relaxed);
        run.running.fetch_add(1, Relaxed);
        run.journal.execute(id, &run.name);
        run.journal.log(&run.name, format_args!("executes {id}"));
        Self {
            run,
            id,
            is_complete: false,
        }
    }
}

impl Drop for ExecutionGuard {
    fn drop(&mut self) {
        let Self {
            run,
            id,
            is_complete,
        } = self;
        run.running.fetch_sub(1, Relaxed);
        run.completed.fetch_add(u64::from(*is_complete), Relaxed);
        let how = if *is_complete { "completes" } else { "drops" };
        run.journal.log(&run.name, format_args!("{how} {id}"));
    }
}

#[server_protocol]
pub(crate) async fn ordered(order: &str, #[state] run: &Run) -> Result<String, String> {
    run.execute(order).await
}

#[server_protocol(framing = Multiplexed)]
pub(crate) async fn unordered(order: &str, #[state] run: &Run) -> Result<String, String> {
    run.execute(order).await
}

/// A host whose server is stopped and started from outside of it.
#[derive(Clone, Debug)]
pub(crate) struct ServerHost {
    pub(crate) name: String,
    journal: Journal,
    has_ids: bool,
    control: Arc<Mutex<Control>>,
}

#[derive(Debug, Default)]
struct Control {
    runs: u32,
    handle: Option<ServerHandle>,
    stopped: Option<Duration>,
    /// How long after a drain the next run begins.
    pause: Duration,
    /// There is no further run.
    is_over: bool,
}

impl ServerHost {
    pub(crate) fn new(name: String, journal: Journal, has_ids: bool) -> Self {
        Self {
            name,
            journal,
            has_ids,
            control: Arc::default(),
        }
    }

    /// Runs servers until one is stopped for good.
    pub(crate) async fn serve(self) -> turmoil::Result {
        loop {
            let number = {
                let mut control = self.control.lock().expect("no panic");
                control.runs += 1;
                control.runs
            };
            let run = Run(Arc::new(RunState {
                name: format!("{}#{number}", self.name),
                journal: self.journal.clone(),
                accepted: AtomicU64::new(0),
                arrived: AtomicU64::new(0),
                executed: AtomicU64::new(0),
                completed: AtomicU64::new(0),
                replied: AtomicU64::new(0),
                running: AtomicU64::new(0),
            }));
            if self.has_ids {
                let server = ConcurrentServer::new(Unordered::new(run.clone()));
                self.run(server, run).await?;
            } else {
                let server = ConcurrentServer::new(Ordered::new(run.clone()));
                self.run(server, run).await?;
            }
            let pause = self.control.lock().expect("no panic").pause;
            sleep(pause).await;
            if self.control.lock().expect("no panic").is_over {
                return Ok(());
            }
        }
    }

    async fn run<P: ServerProtocol>(
        &self,
        server: ConcurrentServer<P>,
        run: Run,
    ) -> turmoil::Result {
        let counted = Arc::downgrade(&run.0);
        let listener = NetListener::bind(move || {
            if let Some(run) = counted.upgrade() {
                run.accepted.fetch_add(1, Relaxed);
            }
            let counters: [fn(&RunState) -> &AtomicU64; 2] =
                [|run| &run.arrived, |run| &run.replied];
            counters.map(|counter| -> OnCall {
                let counted = Weak::clone(&counted);
                Box::new(move |_| {
                    if let Some(run) = counted.upgrade() {
                        counter(&run).fetch_add(1, Relaxed);
                    }
                })
            })
        });
        let server = server
            .listener(listener.await?)
            .drain_timeout(DRAIN_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .frame_timeout(Duration::from_secs(1))
            .write_timeout(Duration::from_secs(1))
            .half_close_timeout(Duration::from_millis(500))
            .request_timeout(REQUEST_TIMEOUT)
            .linger(Duration::from_millis(200))
            .bind()
            .await?;
        let handle = server.handle();
        self.control.lock().expect("no panic").handle = Some(handle.clone());
        self.journal.log(&run.0.name, "listens");
        let now = self.journal.now();
        self.journal.entries().returns.push(now);
        let report = server.listen().await?;
        self.ended(&run, &report, &handle);
        Ok(())
    }

    /// Checks what must hold when a server has ended: nothing of it is left.
    fn ended(&self, run: &Run, report: &Report, handle: &ServerHandle) {
        let (name, journal) = (&run.0.name, &self.journal);
        journal.log(name, format_args!("has ended: {report:?}"));
        let stopped = {
            let mut control = self.control.lock().expect("no panic");
            control.handle = None;
            control.stopped.take().unwrap_or_default()
        };
        journal.entries().drains += 1;
        let fault = |text: String| journal.fault(name, text);
        let took = journal.now().saturating_sub(stopped);
        if took > DRAIN_TIMEOUT + DRAIN_SLACK {
            fault(format!("the drain took {took:?}"));
        }
        let running = run.0.running.load(Relaxed);
        let tasks = Handle::current().metrics().num_alive_tasks();
        let streams = turmoil::established_tcp_stream_count();
        let owners = Arc::strong_count(&run.0);
        if (running, tasks, streams, owners) != (0, 0, 0, 1) {
            fault(format!(
                "{running} functions, {tasks} tasks, {streams} streams, {owners} owners are left"
            ));
        }
        // The report counts what is open as aborted. These are the numbers before.
        let (left, reserved) = (handle.stats(), handle.reserved_bytes());
        if left != *report || reserved > 0 {
            fault(format!("{left:?} and {reserved} bytes are left"));
        }
        if report.connections.aborted > 0 && took < DRAIN_TIMEOUT {
            fault(format!("connections were aborted after {took:?}"));
        }
        self.check_counts(run, report);
    }

    /// Compares the numbers of a server that has ended with what its network, functions and clients have counted.
    fn check_counts(&self, run: &Run, report: &Report) {
        self.check(report);
        let counter = |counter: &AtomicU64| counter.load(Relaxed);
        let [accepted, arrived, executed, completed, replied] = [
            &run.0.accepted,
            &run.0.arrived,
            &run.0.executed,
            &run.0.completed,
            &run.0.replied,
        ]
        .map(counter);
        let answered = {
            let entries = self.journal.entries();
            let is_answered = |outcome: &CallOutcome| match outcome {
                CallOutcome::Answered(by) | CallOutcome::Refused(by) => *by == run.0.name,
                CallOutcome::Failed(_) | CallOutcome::Dropped => false,
            };
            let outcomes = entries.calls.values().filter_map(|it| it.outcome.as_ref());
            outcomes.filter(|it| is_answered(it)).count() as u64
        };
        let requests = report.requests;
        let others = requests.failed + requests.rejected + requests.aborted;
        // In order, the function of each request is called, unless it is rejected.
        let uncalled = if self.has_ids {
            others
        } else {
            requests.rejected
        };
        let is_right = report.connections.accepted == accepted
            && executed <= requests.received
            && requests.received <= executed + uncalled
            && requests.received <= arrived + requests.rejected
            && requests.served == replied
            && (answered..=completed).contains(&replied)
            && completed <= requests.served + requests.failed + requests.aborted;
        if !is_right {
            self.journal.fault(
                &run.0.name,
                format_args!(
                    "{accepted} connections, {arrived} calls, {executed} executed, {completed} completed, \
                     {replied} replies, {answered} answered; {report:?}"
                ),
            );
        }
    }

    fn check(&self, report: &Report) {
        let sum = std::panic::catch_unwind(|| adds_up(report));
        if sum.is_err() {
            self.journal
                .fault(&self.name, format_args!("{report} does not add up"));
        }
    }

    /// Checks the numbers of the run, while it goes on.
    pub(crate) fn check_now(&self) {
        let handle = self.control.lock().expect("no panic").handle.clone();
        if let Some(handle) = handle {
            self.check(&handle.stats());
        }
    }

    /// Returns how many requests are in flight and how many connections are open, or `None` if no server runs.
    pub(crate) fn load(&self) -> Option<(u64, u64)> {
        let handle = self.control.lock().expect("no panic").handle.clone();
        let stats = handle?.stats();
        Some((stats.requests.in_flight, stats.connections.open))
    }

    /// Stops the server. The next one begins after `restart`, if there is one.
    /// Returns `false` if none runs.
    pub(crate) fn stop(&self, restart: Option<Duration>) -> bool {
        let now = self.journal.now();
        let mut control = self.control.lock().expect("no panic");
        control.pause = restart.unwrap_or_default();
        control.is_over = restart.is_none();
        let handle = control.handle.clone();
        if let Some(handle) = &handle {
            control.stopped.get_or_insert(now);
            drop(control);
            handle.stop();
        }
        handle.is_some()
    }

    /// Forgets a run whose host was lost.
    pub(crate) fn forget(&self) {
        let mut control = self.control.lock().expect("no panic");
        control.handle = None;
        control.stopped = None;
    }
}
