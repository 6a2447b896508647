//! Servers are restarted under a channel, by SIGTERM and by `kill -9`.

use std::{
    any::type_name,
    collections::{HashMap, VecDeque},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tcs::{
    Channel, Execution,
    client::ChannelOptions,
    framing::{Framing, LengthPrefixed, Multiplexed},
};
use tcs_tests::{channel::Owned, process::Process, scratch_path, within};
use tokio::{net::TcpSocket, task::JoinSet};

const TASKS: usize = 64;
const RESTARTS: usize = 50;
const KILLS: usize = 10;

/// The calls that are answered before the next restart. A fifth of them is more than the tasks, so that the retries after
/// a restart stay within their limit.
const ANSWERS: u64 = 400;

/// A server that is started again at the same port, and what it has executed.
struct Server {
    process: Process,
    addr: SocketAddr,
    log: PathBuf,
    framing: &'static str,
}

impl Server {
    async fn start(addr: SocketAddr, framing: &'static str) -> Self {
        let log = scratch_path("log");
        Self {
            process: start(addr, &log, framing).await,
            addr,
            log,
            framing,
        }
    }

    /// Ends the server with a signal, and starts it again after `meanwhile`.
    async fn restart(mut self, signal: &str, meanwhile: impl Future) -> Self {
        self.process.signal(signal).await;
        let finished = self.process.finished().await;
        if signal == "TERM" {
            finished.succeeded();
        }
        meanwhile.await;
        self.process = start(self.addr, &self.log, self.framing).await;
        self
    }

    /// Stops the server, and returns how often each request was executed.
    async fn stop(self) -> HashMap<u64, usize> {
        self.process.signal("TERM").await;
        self.process.finished().await.succeeded();
        let log = fs::read_to_string(&self.log).expect("the server has written it");
        fs::remove_file(&self.log).expect("it is there");
        let mut executions = HashMap::new();
        for line in log.lines() {
            *executions.entry(line.parse().expect(line)).or_default() += 1;
        }
        executions
    }
}

async fn start(addr: SocketAddr, log: &Path, framing: &str) -> Process {
    let program = env!("CARGO_BIN_EXE_restarted");
    let addr = addr.to_string();
    let arguments = [addr.as_ref(), log.as_os_str(), framing.as_ref()];
    let mut process = Process::start(program, arguments);
    assert_eq!(process.line().await, "listening");
    process
}

/// Reserves a port. Nobody else gets it while the socket lives, which does not listen.
fn reserve() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("TCP has it");
    let any = "127.0.0.1:0".parse().expect("an address");
    socket.bind(any).expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    (socket, addr)
}

/// Tasks that call without a pause, each with numbers that no other call has.
struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<Vec<Outcome>>,
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    answers: AtomicU64,
    /// The number of kills that have begun, and of those after which calls were answered again.
    kills: AtomicUsize,
    recoveries: AtomicUsize,
    is_stopped: AtomicBool,
}

/// What became of a call.
struct Outcome {
    number: u64,
    error: Option<tcs::Error>,
    /// Whether the server was killed meanwhile.
    was_killed: bool,
}

impl Load {
    fn start<F: Framing>(channel: &Channel<F>) -> Self {
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(Arc::clone(&shared).calls(channel.clone()));
        }
        Self { shared, tasks }
    }

    /// Waits until the server has answered more calls.
    async fn goes_on(&self) {
        let enough = self.shared.answers.load(SeqCst) + ANSWERS;
        let answered = async {
            while self.shared.answers.load(SeqCst) < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(answered).await;
    }

    /// Restarts a server. If there are `others`, calls are answered meanwhile.
    async fn restart(&self, server: Server, others: bool) -> Server {
        let meanwhile = async {
            if others {
                self.goes_on().await;
            }
        };
        let server = server.restart("TERM", meanwhile).await;
        self.goes_on().await;
        server
    }

    async fn kill(&self, server: Server) -> Server {
        self.shared.kills.fetch_add(1, SeqCst);
        let server = server.restart("KILL", async {}).await;
        self.goes_on().await;
        self.shared.recoveries.fetch_add(1, SeqCst);
        server
    }

    async fn stop(mut self) -> Vec<Outcome> {
        self.shared.is_stopped.store(true, SeqCst);
        let mut outcomes = Vec::new();
        while let Some(task) = within(self.tasks.join_next()).await {
            outcomes.extend(task.expect("no panic"));
        }
        outcomes
    }
}

impl Shared {
    async fn calls<F: Framing>(self: Arc<Self>, channel: Channel<F>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !self.is_stopped.load(SeqCst) {
            let number = self.next.fetch_add(1, SeqCst);
            let recoveries = self.recoveries.load(SeqCst);
            let request = number.to_string();
            let error = match channel.call::<Owned<F>>(&request).await {
                Ok(reply) => {
                    assert_eq!(reply, request, "the reply of another call");
                    self.answers.fetch_add(1, SeqCst);
                    None
                }
                Err(error) => Some(error),
            };
            outcomes.push(Outcome {
                number,
                error,
                was_killed: self.kills.load(SeqCst) > recoveries,
            });
        }
        outcomes
    }
}

/// Restarts servers in turn under a channel. Only one that is alone is killed, too. Returns what became of each call, and
/// how often its request was executed.
async fn restarted<F: Framing>(count: usize, is_idempotent: bool) -> Vec<(Outcome, usize)> {
    let kills = if count == 1 { KILLS } else { 0 };
    let ports: Vec<_> = (0..count).map(|_| reserve()).collect();
    let mut servers = VecDeque::new();
    for (_, addr) in &ports {
        servers.push_back(Server::start(*addr, type_name::<F>()).await);
    }
    let mut options = ChannelOptions::<F>::new(ports[0].1);
    for (_, addr) in &ports[1..] {
        options = options.address(*addr);
    }
    let options = options.backoff(Duration::from_millis(5), Duration::from_millis(20));
    let mut channel = within(options.connect()).await.expect("they listen");
    if is_idempotent {
        channel = channel.idempotent();
    }
    let load = Load::start(&channel);
    load.goes_on().await;
    for number in 1..=RESTARTS {
        let server = servers.pop_front().expect("one at least");
        let mut server = load.restart(server, count > 1).await;
        if kills > 0 && number % (RESTARTS / kills) == 0 {
            server = load.kill(server).await;
        }
        servers.push_back(server);
    }
    let outcomes = load.stop().await;
    let state = channel.state();
    assert!(state.connects > (RESTARTS + kills) as u64, "{state:?}");
    drop(channel);
    let mut executions = HashMap::new();
    for server in servers {
        for (number, times) in server.stop().await {
            *executions.entry(number).or_default() += times;
        }
    }
    let with_count = |outcome: Outcome| {
        let count = executions.get(&outcome.number).copied();
        (outcome, count.unwrap_or_default())
    };
    outcomes.into_iter().map(with_count).collect()
}

async fn idempotent_calls_do_not_fail<F: Framing>() {
    for (Outcome { number, error, .. }, executions) in restarted::<F>(1, true).await {
        assert!(error.is_none(), "{number}: {error:?}");
        assert!(executions >= 1, "{number} was answered and not executed");
    }
}

async fn no_call_is_executed_twice<F: Framing>() {
    let mut failures = 0;
    for (outcome, executions) in restarted::<F>(1, false).await {
        let number = outcome.number;
        let Some(error) = outcome.error else {
            assert_eq!(executions, 1, "{number} was answered");
            continue;
        };
        failures += 1;
        assert_eq!(error.execution(), Execution::Unknown, "{number}: {error:?}");
        assert!(executions <= 1, "{number} was executed {executions} times");
        assert!(outcome.was_killed, "{number}: {error:?} without a kill");
    }
    assert!(failures > 0, "no kill met a call");
}

async fn no_call_fails_while_each_of_three_servers_is_restarted<F: Framing>() {
    for (Outcome { number, error, .. }, executions) in restarted::<F>(3, false).await {
        assert!(error.is_none(), "{number}: {error:?}");
        assert_eq!(executions, 1, "{number} was answered");
    }
}

#[tokio::test]
async fn idempotent_calls_do_not_fail_while_the_server_is_restarted_and_killed() {
    idempotent_calls_do_not_fail::<LengthPrefixed>().await;
    idempotent_calls_do_not_fail::<Multiplexed>().await;
}

#[tokio::test]
async fn no_call_is_executed_twice_and_only_kills_fail_some() {
    no_call_is_executed_twice::<LengthPrefixed>().await;
    no_call_is_executed_twice::<Multiplexed>().await;
}

#[tokio::test]
async fn no_call_fails_while_the_servers_of_a_channel_are_restarted_in_turn() {
    no_call_fails_while_each_of_three_servers_is_restarted::<LengthPrefixed>().await;
    no_call_fails_while_each_of_three_servers_is_restarted::<Multiplexed>().await;
}
