//! The hosts that call.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tcs::{
    Channel, Error, Execution, RejectionKind,
    client::{ChannelOptions, ChannelState, ConnectOptions},
    framing::{Framing, Multiplexed},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use turmoil::net::TcpStream;

use crate::{
    journal::{CallOutcome, Journal},
    net::{PORT, Tap},
    server::{Order, Ordered, Unordered, answered_by, refused_by},
};

pub(crate) const CONNECTIONS: usize = 2;
const TASKS: usize = 3;
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// What the documentation of `Channel` says for this reply timeout, and two steps of the simulation.
const LONGEST_CALL: Duration = Duration::from_millis(5_250 + 20);
const LONGEST_WITHOUT_RETRIES: Duration = Duration::from_millis(2_125 + 20);
/// How late a deadline may end a call.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// How long it takes until calls are answered once the network is whole: each connection may be one whose bytes were
/// lost, which a call without a reply finds, and the next attempt to connect may have to wait.
const RECOVERY: Duration =
    Duration::from_millis((1_125 + 20) * CONNECTIONS as u64 + 1_000 + 500 + 200);

/// Makes calls, and notes what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Its host.
    pub(crate) name: String,
    pub(crate) journal: Journal,
    /// Whom it connects to, in turn.
    pub(crate) servers: Vec<String>,
    pub(crate) has_ids: bool,
    pub(crate) has_retries: bool,
    pub(crate) seed: u64,
}

/// A host that calls until the network is whole again, and then until all is well.
#[derive(Clone, Debug)]
pub(crate) struct ClientHost {
    pub(crate) caller: Caller,
    /// When the network is whole again.
    pub(crate) whole: Duration,
    pub(crate) is_done: Arc<AtomicBool>,
}

/// The channel of a host, with either framing.
#[derive(Clone)]
pub(crate) enum AnyChannel {
    Ordered(Channel),
    Unordered(Channel<Multiplexed>),
}

/// How a call is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallOptions {
    pub(crate) is_idempotent: bool,
    deadline: Option<Duration>,
    hedge: Option<Duration>,
    /// When the caller no longer waits.
    drop_after: Option<Duration>,
}

impl CallOptions {
    fn apply<F: Framing>(&self, channel: &Channel<F>) -> Channel<F> {
        let mut channel = channel.clone();
        if self.is_idempotent {
            channel = channel.idempotent();
        }
        if let Some(limit) = self.deadline {
            channel = channel.deadline(limit);
        }
        if let Some(delay) = self.hedge {
            channel = channel.idempotent().hedge(delay);
        }
        channel
    }
}

impl AnyChannel {
    async fn call(&self, order: &str, options: &CallOptions) -> tcs::Result<String> {
        match self {
            Self::Ordered(channel) => options.apply(channel).call::<Ordered>(order).await,
            Self::Unordered(channel) => options.apply(channel).call::<Unordered>(order).await,
        }
    }

    fn state(&self) -> ChannelState {
        match self {
            Self::Ordered(channel) => channel.state(),
            Self::Unordered(channel) => channel.state(),
        }
    }
}

/// The attempts to connect of a channel.
#[derive(Debug, Default)]
pub(crate) struct Opens {
    begun: AtomicU64,
    made: AtomicU64,
}

/// A call that was not given up yet.
struct Pending<'a> {
    journal: &'a Journal,
    id: u64,
    outcome: CallOutcome,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.journal.end_call(self.id, self.outcome.clone());
    }
}

impl ClientHost {
    /// Calls, until its host is lost or all is well.
    pub(crate) async fn run(self) -> turmoil::Result {
        let Self {
            caller,
            whole,
            is_done,
        } = self;
        let opens = Arc::new(Opens::default());
        let channel = caller.channel(&opens)?;
        let first = caller.journal.entries().calls.len() as u64;
        let mut rng = Rng::with_seed(caller.seed);
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            tasks.spawn(caller.clone().calls(channel.clone(), rng.fork(), whole));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                caller.journal.fault(&caller.name, error);
            }
        }
        caller.recover(&channel).await;
        caller.check_counts(&channel.state(), &opens);
        caller.check_retries(channel.state().retries, first);
        drop(channel);
        is_done.store(true, Relaxed);
        Ok(())
    }
}

impl Caller {
    pub(crate) fn channel(&self, opens: &Arc<Opens>) -> tcs::Result<AnyChannel> {
        Ok(if self.has_ids {
            AnyChannel::Unordered(self.options(opens).connect_lazily()?)
        } else {
            AnyChannel::Ordered(self.options(opens).connect_lazily()?)
        })
    }

    fn options<F: Framing>(&self, opens: &Arc<Opens>) -> ChannelOptions<F> {
        let (host, opens) = (self.clone(), Arc::clone(opens));
        let next = Arc::new(AtomicUsize::new(usize::from(self.seed.to_le_bytes()[0])));
        let mut connect = ConnectOptions::new()
            .connect_timeout(CONNECT_TIMEOUT)
            .reply_timeout(REPLY_TIMEOUT);
        if self.seed.is_multiple_of(5) {
            connect = connect.max_in_flight(2);
        }
        ChannelOptions::over(move || {
            let (host, opens) = (host.clone(), Arc::clone(&opens));
            let place = next.fetch_add(1, Relaxed) % host.servers.len();
            async move { host.open(place, &opens).await }
        })
        .connections(CONNECTIONS)
        .connect_options(connect)
        .backoff(Duration::from_millis(100), MAX_BACKOFF)
        .idle_timeout(Duration::from_secs(3))
        .max_age(self.max_age())
        .retries(self.has_retries)
    }

    fn max_age(&self) -> Option<Duration> {
        let is_limited = self.seed.is_multiple_of(3);
        is_limited.then_some(Duration::from_secs(2))
    }

    async fn open(&self, place: usize, opens: &Opens) -> io::Result<Tap> {
        let server = &self.servers[place];
        opens.begun.fetch_add(1, Relaxed);
        self.journal.attempt(&self.name);
        self.journal
            .log(&self.name, format_args!("connects to {server}"));
        let opened = TcpStream::connect((server.as_str(), PORT)).await;
        opens.made.fetch_add(u64::from(opened.is_ok()), Relaxed);
        let journal = self.journal.clone();
        Ok(Tap::of_client(
            opened?,
            Box::new(move |id| journal.write(id)),
        ))
    }

    /// Makes one call after the other, until the network is whole.
    async fn calls(self, channel: AnyChannel, mut rng: Rng, whole: Duration) {
        while self.journal.now() < whole {
            let (order, options) = random_call(&mut rng);
            self.call(&channel, order, &options).await;
            if rng.bool() {
                sleep(Duration::from_millis(rng.u64(1..60))).await;
            }
        }
    }

    /// Makes a call. Returns `true` if it was answered.
    pub(crate) async fn call(
        &self,
        channel: &AnyChannel,
        order: Order,
        options: &CallOptions,
    ) -> bool {
        let (name, journal) = (&self.name, &self.journal);
        let id = journal.begin_call(name, options.is_idempotent || options.hedge.is_some());
        let order = Order { id, ..order };
        journal.log(name, format_args!("calls {order:?}, {options:?}"));
        let mut pending = Pending {
            journal,
            id,
            outcome: CallOutcome::Dropped,
        };
        let began = journal.now();
        let text = order.to_string();
        let calling = channel.call(&text, options);
        let reply = match options.drop_after {
            Some(limit) => timeout(limit, calling).await.ok(),
            None => Some(calling.await),
        };
        let took = journal.now().saturating_sub(began);
        let limit = match options.deadline {
            Some(limit) => limit + DEADLINE_SLACK,
            None if self.has_retries => LONGEST_CALL,
            None => LONGEST_WITHOUT_RETRIES,
        };
        if took > limit {
            journal.fault(name, format_args!("call {id} took {took:?}"));
        }
        pending.outcome = match reply {
            Some(Ok(text)) => answered_by(&order, &text).map_or_else(
                || {
                    journal.fault(name, format_args!("call {id} got `{text}`"));
                    CallOutcome::Dropped
                },
                CallOutcome::Answered,
            ),
            Some(Err(error)) => {
                journal.log(
                    name,
                    format_args!("call {id} fails: {error} {:?}", error.kind()),
                );
                self.refused(&order, &error)
            }
            None => CallOutcome::Dropped,
        };
        journal.log(name, format_args!("call {id} ends: {:?}", pending.outcome));
        matches!(pending.outcome, CallOutcome::Answered(_))
    }

    /// Returns what became of a call that has failed. If its function has refused it, it did so for this call.
    fn refused(&self, order: &Order, error: &Error) -> CallOutcome {
        let refusal = error
            .rejection()
            .filter(|it| it.kind() == RejectionKind::Error);
        let Some(refusal) = refusal else {
            return CallOutcome::Failed(error.execution());
        };
        let run = refused_by(order, refusal.text());
        if run.is_none() || error.execution() != Execution::Executed {
            let text = format_args!("call {} got {error:?}", order.id);
            self.journal.fault(&self.name, text);
        }
        CallOutcome::Refused(run.unwrap_or_default())
    }

    /// Calls until all is well.
    async fn recover(&self, channel: &AnyChannel) {
        let began = self.journal.now();
        let order = Order {
            id: 0,
            wait: Duration::ZERO,
            length: 10,
            is_refused: false,
            filler: 0,
        };
        let (mut answered, mut failed) = (0, 0);
        while answered < 10 && failed < 100 {
            if self.call(channel, order, &CallOptions::default()).await {
                answered += 1;
            } else {
                failed += 1;
                sleep(Duration::from_millis(10)).await;
            }
        }
        let took = self.journal.now().saturating_sub(began);
        // Ten calls take their time, of a few round trips each.
        if failed > 2 * CONNECTIONS || took > RECOVERY + Duration::from_secs(2) {
            let text = format_args!(
                "{answered} of 10 calls were answered after {took:?}, {failed} failed"
            );
            self.journal.fault(&self.name, text);
        }
    }

    /// Compares the retries of a channel with what was written. Its calls begin with `first`: those before are of a channel
    /// that was lost with its host.
    fn check_retries(&self, retries: u64, first: u64) {
        let entries = self.journal.entries();
        let own = entries.calls.range(first..);
        let repeats: usize = own
            .filter(|(_, call)| call.client == self.name)
            .map(|(_, call)| call.writes.saturating_sub(1))
            .sum();
        drop(entries);
        if repeats as u64 > retries {
            let text = format_args!("{repeats} requests were written again, {retries} retries");
            self.journal.fault(&self.name, text);
        }
    }

    /// Checks the numbers of a channel that waits for nothing.
    fn check_counts(&self, state: &ChannelState, opens: &Opens) {
        let (begun, made) = (opens.begun.load(Relaxed), opens.made.load(Relaxed));
        let text = format!("{begun} attempts, {made} made; {state:?}");
        self.journal.log(&self.name, &text);
        self.journal.entries().retries += usize::try_from(state.retries).expect("few");
        // One attempt of each connection may go on, which no call waits for.
        let ended = state.connects + state.failed_attempts;
        let open = CONNECTIONS as u64;
        // An attempt to replace an old connection ends with that connection, and is neither (seed 786).
        let given_up = match self.max_age() {
            Some(_) => state.connects.saturating_sub(state.connected as u64),
            None => 0,
        };
        let adds_up = ended <= begun
            && begun <= ended + open + given_up
            && state.connects <= made
            && state.connected <= CONNECTIONS
            && state.losses <= state.connects;
        if !adds_up {
            self.journal.fault(&self.name, text);
        }
    }
}

fn random_call(rng: &mut Rng) -> (Order, CallOptions) {
    let order = Order {
        id: 0,
        wait: Duration::from_millis(match rng.u8(..20) {
            0..10 => 0,
            10..17 => rng.u64(1..80),
            17..19 => rng.u64(80..900),
            _ => rng.u64(900..2_500),
        }),
        length: match rng.u8(..10) {
            0..8 => rng.usize(..100),
            _ => rng.usize(..20_000),
        },
        is_refused: rng.u8(..16) == 0,
        filler: match rng.u8(..10) {
            0..9 => 0,
            _ => rng.usize(..200_000),
        },
    };
    let mut some = |chance: u8, most: u64| {
        let is_some = rng.u8(..100) < chance;
        let millis = rng.u64(1..most);
        is_some.then_some(Duration::from_millis(millis))
    };
    let options = CallOptions {
        deadline: some(25, 1_500),
        hedge: some(8, 150),
        drop_after: some(15, 300),
        is_idempotent: some(35, 2).is_some(),
    };
    (order, options)
}

/// Returns the seed of a host.
pub(crate) fn seed_of(seed: u64, host: usize) -> u64 {
    Rng::with_seed(seed).u64(..).wrapping_add(host as u64)
}
