//! One simulation.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use fastrand::Rng;
use tcs::Execution;
use tokio::runtime::Builder;
use turmoil::Sim;

use crate::{
    client::{Caller, ClientHost, seed_of},
    journal::{CallOutcome, Journal, most_within},
    net::balance,
    plan::{Event, Hosts, random_events},
    server::{LONGEST_IDLE, ServerHost},
};

/// When the network is whole again.
const WHOLE: Duration = Duration::from_secs(6);
/// When all must have ended.
const END: Duration = Duration::from_secs(40);

/// What one client may try in a second: its two connections fail five times each, and are made and lost again.
const MOST_ATTEMPTS: usize = 24;

/// What came out of a simulation.
#[derive(Debug, Default)]
pub(crate) struct SimResult {
    pub(crate) lines: Vec<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) counts: Counts,
}

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    pub(crate) refused: usize,
    pub(crate) not_sent: usize,
    pub(crate) not_executed: usize,
    pub(crate) executed: usize,
    pub(crate) unknown: usize,
    pub(crate) dropped: usize,
    /// Executed more than once.
    pub(crate) repeated: usize,
    pub(crate) retries: usize,
    /// Drains that have ended.
    pub(crate) drains: usize,
    /// The events that found their hosts running, by kind.
    pub(crate) cuts: usize,
    pub(crate) holds: usize,
    pub(crate) crashes: usize,
    pub(crate) losses: usize,
    pub(crate) restarts: usize,
    pub(crate) most_attempts: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.most_attempts = self.most_attempts.max(other.most_attempts);
        for (sum, more) in self.all().into_iter().zip({ *other }.all()) {
            *sum += *more;
        }
    }

    /// Returns all that are added up.
    fn all(&mut self) -> [&mut usize; 16] {
        [
            &mut self.calls,
            &mut self.answered,
            &mut self.refused,
            &mut self.not_sent,
            &mut self.not_executed,
            &mut self.executed,
            &mut self.unknown,
            &mut self.dropped,
            &mut self.repeated,
            &mut self.retries,
            &mut self.drains,
            &mut self.cuts,
            &mut self.holds,
            &mut self.crashes,
            &mut self.losses,
            &mut self.restarts,
        ]
    }

    fn count(&mut self, outcome: &CallOutcome) {
        *match outcome {
            CallOutcome::Answered(_) => &mut self.answered,
            CallOutcome::Refused(_) => &mut self.refused,
            CallOutcome::Dropped => &mut self.dropped,
            CallOutcome::Failed(execution) => match execution {
                Execution::NotSent => &mut self.not_sent,
                Execution::NotExecuted => &mut self.not_executed,
                Execution::Executed => &mut self.executed,
                Execution::Unknown => &mut self.unknown,
            },
        } += 1;
    }

    /// Returns `true` if all happened that is to be checked, in as many seeds as a process runs.
    pub(crate) fn is_eventful(&self) -> bool {
        let often = [self.unknown, self.dropped, self.repeated];
        let seldom = [
            self.refused,
            self.not_sent,
            self.cuts,
            self.holds,
            self.crashes,
            self.restarts,
        ];
        self.answered > self.calls / 2
            && often.iter().all(|count| *count > self.calls / 100)
            && seldom.iter().all(|count| *count >= 5)
            && self.retries.min(self.drains) > 25
            && self.losses.min(self.not_executed) > 0
    }
}

/// Runs the simulation of a seed, in a thread of its own: the library's random numbers belong to the thread.
pub(crate) fn simulate(seed: u64) -> SimResult {
    in_thread(seed, move || Simulation::new(seed).run())
}

/// Runs `simulation` in a thread of its own, with the library's random numbers from `seed`.
pub(crate) fn in_thread<T: Send + 'static>(
    seed: u64,
    simulation: impl FnOnce() -> T + Send + 'static,
) -> T {
    let seeded = move || {
        fastrand::seed(seed);
        align_task_ids();
        simulation()
    };
    let thread = thread::Builder::new().stack_size(8 << 20).spawn(seeded);
    let ended = thread.expect("a thread").join();
    ended.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Spawns tasks until their number is one of few.
///
/// Which of a lost host's tasks is dropped first depends on their ids, which count all tasks of the process: the runtime
/// of tokio 1.54 keeps them in at most this many lists, by id. `seeds::seed_is_replayed_exactly` fails once that is no
/// longer so.
fn align_task_ids() {
    const LISTS: u64 = 64;
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    loop {
        let id = runtime.spawn(async {}).id().to_string();
        if id.parse::<u64>().expect("a number") % LISTS == 0 {
            return;
        }
    }
}

struct Simulation<'a> {
    sim: Sim<'a>,
    journal: Journal,
    hosts: Hosts,
    servers: Vec<ServerHost>,
    clients: Vec<ClientHost>,
    events: std::vec::IntoIter<(Duration, Event)>,
    next: Option<(Duration, Event)>,
    counts: Counts,
    /// Is `true` if the servers are drained once they are idle.
    waits_for_idle: bool,
}

impl Simulation<'_> {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let names = |what: &str, number: usize| -> Vec<String> {
            (0..number).map(|n| format!("{what}-{n}")).collect()
        };
        let hosts = Hosts {
            servers: names("server", rng.usize(1..=3)),
            clients: names("client", rng.usize(1..=3)),
            balancer: rng.bool().then(|| "balancer".to_owned()),
        };
        let has_ids = rng.bool();
        let journal = Journal::default();
        let mut sim = build(&mut rng);

        let new_server = |name: &String| ServerHost::new(name.clone(), journal.clone(), has_ids);
        let servers: Vec<_> = hosts.servers.iter().map(new_server).collect();
        for server in &servers {
            let host = server.clone();
            sim.host(server.name.as_str(), move || host.clone().serve());
        }
        if let Some(balancer) = &hosts.balancer {
            let servers = hosts.servers.clone();
            sim.host(balancer.as_str(), move || balance(servers.clone()));
        }
        let mut clients = Vec::new();
        for (index, name) in hosts.clients.iter().enumerate() {
            let balancer = hosts.balancer.as_ref().map(|it| vec![it.clone()]);
            let seed = seed_of(seed, index);
            let caller = Caller {
                name: name.clone(),
                journal: journal.clone(),
                servers: balancer.unwrap_or_else(|| hosts.servers.clone()),
                has_ids,
                has_retries: !seed.is_multiple_of(4),
                seed,
            };
            let client = ClientHost {
                caller,
                whole: WHOLE,
                is_done: Arc::new(AtomicBool::new(false)),
            };
            let host = client.clone();
            sim.host(name.as_str(), move || host.clone().run());
            clients.push(client);
        }
        let mut events = random_events(&mut rng, &hosts, WHOLE).into_iter();
        Self {
            next: events.next(),
            events,
            sim,
            journal,
            hosts,
            servers,
            clients,
            counts: Counts::default(),
            waits_for_idle: rng.u8(..4) == 0,
        }
    }

    fn run(mut self) -> SimResult {
        self.run_until(|it| it.sim.elapsed() >= WHOLE);
        self.mend();
        self.run_until(|it| it.clients.iter().all(|client| client.is_done.load(Relaxed)));
        // In the others, the drain finds what is left.
        if self.waits_for_idle {
            self.run_until_idle();
        }
        for server in &self.servers {
            server.stop(None);
        }
        let names = self.hosts.servers.clone();
        self.run_until(|it| {
            names
                .iter()
                .all(|name| !it.sim.is_host_running(name.as_str()))
        });
        self.journal.check_calls();
        let counts = self.counts();
        drop(self.sim);
        let mut entries = self.journal.entries();
        SimResult {
            lines: std::mem::take(&mut entries.lines),
            faults: std::mem::take(&mut entries.faults),
            counts,
        }
    }

    /// Runs until something holds, or much too long.
    fn run_until(&mut self, mut is_true: impl FnMut(&mut Self) -> bool) {
        while !is_true(self) {
            let now = self.sim.elapsed();
            self.journal.entries().now = now;
            if now > END {
                self.journal.fault("simulation", "does not end");
                return;
            }
            while let Some((_, event)) = self.next.take_if(|(at, _)| *at <= now) {
                self.happen(&event);
                self.next = self.events.next();
            }
            if let Err(error) = self.sim.step() {
                self.journal.fault("simulation", error);
            }
            for server in &self.servers {
                server.check_now();
            }
        }
    }

    /// Waits until the servers have noticed that their clients are gone. The connections that a lost host has left end
    /// with the idle timeout, which begins after the last of their requests (seed 8966).
    fn run_until_idle(&mut self) {
        let is_idle = |server: &ServerHost| server.load() == Some((0, 0));
        let mut last_busy = self.sim.elapsed();
        self.run_until(|it| {
            let is_busy = |server: &ServerHost| server.load().is_none_or(|(calls, _)| calls > 0);
            if it.servers.iter().any(is_busy) {
                last_busy = it.sim.elapsed();
            }
            it.sim.elapsed() > last_busy + LONGEST_IDLE || it.servers.iter().all(is_idle)
        });
        for server in self.servers.iter().filter(|server| !is_idle(server)) {
            self.journal.fault(&server.name, "is not idle");
        }
    }

    fn happen(&mut self, event: &Event) {
        self.journal.log("event", format_args!("{event:?}"));
        let (sim, counts) = (&mut self.sim, &mut self.counts);
        let mut running = |hosts: &[&String]| {
            let mut hosts = hosts.iter();
            usize::from(hosts.all(|host| sim.is_host_running(host.as_str())))
        };
        match event {
            Event::Cut(a, b) | Event::CutOneWay(a, b) => counts.cuts += running(&[a, b]),
            Event::Hold(a, b) => counts.holds += running(&[a, b]),
            Event::Crash(host) => counts.crashes += running(&[host]),
            Event::Lose(host) => counts.losses += running(&[host]),
            Event::Mend(..) | Event::Slow(..) | Event::Start(_) | Event::Drain(..) => {}
        }
        match event {
            Event::Cut(a, b) => sim.partition(a.as_str(), b.as_str()),
            Event::CutOneWay(a, b) => sim.partition_oneway(a.as_str(), b.as_str()),
            Event::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
            Event::Mend(a, b) => sim.release(a.as_str(), b.as_str()),
            Event::Slow(a, b, most) => {
                sim.set_link_max_message_latency(a.as_str(), b.as_str(), *most);
            }
            Event::Crash(host) => self.crash(host),
            Event::Lose(host) => {
                for peer in self.peers(host) {
                    self.sim.partition(host.as_str(), peer.as_str());
                }
                self.crash(host);
                for peer in self.peers(host) {
                    self.sim.release(host.as_str(), peer.as_str());
                }
            }
            Event::Start(host) => self.start(host),
            Event::Drain(server, pause) => {
                let is_stopped = self.servers[*server].stop(Some(*pause));
                self.counts.restarts += usize::from(is_stopped);
            }
        }
    }

    fn crash(&mut self, host: &str) {
        self.sim.crash(host);
        if let Some(server) = self.servers.iter().find(|server| server.name == host) {
            server.forget();
        }
    }

    fn start(&mut self, host: &str) {
        if !self.sim.is_host_running(host) {
            self.sim.bounce(host);
        }
    }

    /// Returns all other hosts.
    fn peers(&self, host: &str) -> Vec<String> {
        let links = self.hosts.links();
        let peer = |(a, b): (String, String)| match (a == host, b == host) {
            (true, _) => Some(b),
            (_, true) => Some(a),
            _ => None,
        };
        links.into_iter().filter_map(peer).collect()
    }

    /// Makes the network whole, and starts every host.
    fn mend(&mut self) {
        for (a, b) in self.hosts.links() {
            self.sim.release(a.as_str(), b.as_str());
            self.sim.set_link_max_message_latency(
                a.as_str(),
                b.as_str(),
                Duration::from_millis(20),
            );
        }
        let hosts = self.hosts.clone();
        for host in hosts.servers.iter().chain(&hosts.balancer) {
            self.start(host);
        }
        for client in self.clients.clone() {
            if !client.is_done.load(Relaxed) {
                self.start(&client.caller.name);
            }
        }
        self.journal.log("event", "all is whole");
    }

    /// Counts what happened, and checks that nobody connected too often.
    fn counts(&self) -> Counts {
        let mut counts = self.counts;
        {
            let entries = self.journal.entries();
            counts.calls = entries.calls.len();
            (counts.retries, counts.drains) = (entries.retries, entries.drains);
            for call in entries.calls.values() {
                counts.repeated += usize::from(call.executions.len() > 1);
                if let Some(outcome) = &call.outcome {
                    counts.count(outcome);
                }
            }
            for client in &self.hosts.clients {
                let own = entries.attempts.iter().filter(|(_, name)| name == client);
                let times: Vec<_> = own.map(|(at, _)| *at).collect();
                let most = most_within(&times, Duration::from_secs(1));
                counts.most_attempts = counts.most_attempts.max(most);
            }
        }
        if counts.most_attempts > MOST_ATTEMPTS {
            let text = format_args!("{} attempts to connect in a second", counts.most_attempts);
            self.journal.fault("clients", text);
        }
        counts
    }
}

/// Builds a network without hosts.
pub(crate) fn build<'a>(rng: &mut Rng) -> Sim<'a> {
    let mut builder = turmoil::Builder::new();
    builder
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(Duration::from_millis(10))
        .simulation_duration(END * 2)
        .min_message_latency(Duration::from_millis(rng.u64(..3)))
        .max_message_latency(Duration::from_millis(rng.u64(3..60)))
        // The most segments that wait for a host, and the most peers.
        .tcp_capacity(512)
        .rng_seed(rng.u64(..));
    if rng.bool() {
        builder.enable_random_order();
    }
    builder.build()
}
