//! The hosts that serve.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex,
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
    journal::{Journal, Outcome},
    net::NetListener,
};

pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The sweep that finds the end of the drain, what a closing connection lingers, and two steps.
const DRAIN_SLACK: Duration = Duration::from_millis(400);

/// What a call asks for: how long it takes, how much it gets, and whether it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) wait: Duration,
    pub(crate) length: usize,
    pub(crate) is_refused: bool,
}

impl Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wait = self.wait.as_millis();
        let refused = u8::from(self.is_refused);
        write!(f, "{} {wait} {} {refused}", self.id, self.length)
    }
}

impl Order {
    fn parse(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|it| it.parse().expect("a number"));
        let mut next = || numbers.next().expect("four numbers");
        Self {
            id: next(),
            wait: Duration::from_millis(next()),
            length: usize::try_from(next()).expect("short"),
            is_refused: next() > 0,
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
    executed: AtomicU64,
    running: AtomicU64,
}

impl Run {
    async fn execute(&self, order: &str) -> Result<String, String> {
        let order = Order::parse(order);
        let mut execution = Running::begin(Arc::clone(&self.0), order.id);
        if !order.wait.is_zero() {
            sleep(order.wait).await;
        }
        execution.is_complete = true;
        if order.is_refused {
            return Err(format!("{} is refused", order.id));
        }
        Ok(reply(order.id, &self.0.name, order.length))
    }
}

/// Returns the reply to a call.
fn reply(id: u64, run: &str, length: usize) -> String {
    format!("{id} {run} {}", "x".repeat(length))
}

/// Returns who has answered, if this is the reply to that call.
pub(crate) fn answered_by(order: &Order, text: &str) -> Option<String> {
    let run = text.split(' ').nth(1)?;
    (text == reply(order.id, run, order.length)).then(|| run.to_owned())
}

/// A function that runs.
struct Running {
    run: Arc<RunState>,
    id: u64,
    is_complete: bool,
}

impl Running {
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

impl Drop for Running {
    fn drop(&mut self) {
        let Self {
            run,
            id,
            is_complete,
        } = self;
        run.running.fetch_sub(1, Relaxed);
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
                executed: AtomicU64::new(0),
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
        let accepted = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&accepted);
        let listener = NetListener::bind(move || {
            counter.fetch_add(1, Relaxed);
        });
        let server = server
            .listener(listener.await?)
            .drain_timeout(DRAIN_TIMEOUT)
            .idle_timeout(Duration::from_secs(4))
            .frame_timeout(Duration::from_secs(1))
            .write_timeout(Duration::from_secs(1))
            .half_close_timeout(Duration::from_millis(500))
            .request_timeout(Duration::from_secs(2))
            .linger(Duration::from_millis(200))
            .bind()
            .await?;
        self.control.lock().expect("no panic").handle = Some(server.handle());
        self.journal.log(&run.0.name, "listens");
        let now = self.journal.now();
        self.journal.entries().returns.push(now);
        let report = server.listen().await?;
        self.ended(&run, &report, accepted.load(Relaxed));
        Ok(())
    }

    /// Checks what must hold when a server has ended: nothing of it is left.
    fn ended(&self, run: &Run, report: &Report, accepted: u64) {
        let (name, journal) = (&run.0.name, &self.journal);
        journal.log(name, format_args!("has ended: {report:?}"));
        self.check(report);
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
        let (requests, connections) = (report.requests, report.connections);
        if (requests.in_flight, connections.open) != (0, 0) {
            fault("its report has something open".to_owned());
        }
        if connections.accepted != accepted {
            fault(format!("{accepted} connections were accepted"));
        }
        let executed = run.0.executed.load(Relaxed);
        if executed > requests.served + requests.failed + requests.aborted {
            fault(format!("{executed} requests were executed"));
        }
        let answered = {
            let entries = journal.entries();
            let outcome = Some(Outcome::Answered(name.clone()));
            entries
                .calls
                .values()
                .filter(|call| call.outcome == outcome)
                .count() as u64
        };
        if answered > requests.served {
            fault(format!("{answered} calls were answered"));
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

    /// Stops the server. The next one begins after `restart`, if there is one.
    pub(crate) fn stop(&self, restart: Option<Duration>) {
        let now = self.journal.now();
        let mut control = self.control.lock().expect("no panic");
        control.pause = restart.unwrap_or_default();
        control.is_over = restart.is_none();
        if let Some(handle) = control.handle.clone() {
            control.stopped.get_or_insert(now);
            drop(control);
            handle.stop();
        }
    }

    /// Forgets a run whose host was lost.
    pub(crate) fn forget(&self) {
        let mut control = self.control.lock().expect("no panic");
        control.handle = None;
        control.stopped = None;
    }
}
