//! Many calls over two connections, some of which end before their replies.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use tcs::{
    Channel, ConcurrentServer, ErrorKind,
    client::ChannelOptions,
    format::Plain,
    framing::{Framing, LengthPrefixed, Multiplexed},
    protocol::{Contract, ServerProtocol},
    server_protocol,
};
use tcs_tests::{channel::Owned, start};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

const CALLS: u64 = 100;

/// How often each request was executed.
type Executions = Arc<[AtomicU8]>;

/// Replies with the request, some of which take a moment.
#[server_protocol]
async fn repeat(#[state] executions: &Executions, request: &str) -> String {
    execute(executions, request).await
}

/// The same side by side.
#[server_protocol(framing = Multiplexed)]
async fn repeat_beside(#[state] executions: &Executions, request: &str) -> String {
    execute(executions, request).await
}

/// The contract of [`RepeatBeside`], whose replies are owned.
#[derive(Debug)]
enum OwnedBeside {}

impl Contract for OwnedBeside {
    type Framing = Multiplexed;
    type Format = Plain;
    type Request<'a> = &'a str;
    type Reply<'a> = String;
}

async fn execute(executions: &Executions, request: &str) -> String {
    let number: usize = request.parse().expect("a number");
    executions[number].fetch_add(1, Relaxed);
    if number.is_multiple_of(200) {
        sleep(Duration::from_millis(1)).await;
    }
    request.to_owned()
}

#[derive(Debug, Default)]
struct Outcomes {
    answered: Vec<u64>,
    late: u64,
    cancelled: u64,
}

/// A channel over one of the framings.
trait Repeats: Clone + Send + Sync + 'static {
    fn repeat(&self, request: &str) -> impl Future<Output = tcs::Result<String>> + Send;
    fn limited(&self, limit: Duration) -> Self;
}

impl Repeats for Channel {
    fn repeat(&self, request: &str) -> impl Future<Output = tcs::Result<String>> + Send {
        self.call::<Owned>(request)
    }

    fn limited(&self, limit: Duration) -> Self {
        self.deadline(limit)
    }
}

impl Repeats for Channel<Multiplexed> {
    fn repeat(&self, request: &str) -> impl Future<Output = tcs::Result<String>> + Send {
        self.call::<OwnedBeside>(request)
    }

    fn limited(&self, limit: Duration) -> Self {
        self.deadline(limit)
    }
}

/// Makes the calls of one task.
async fn calls(channel: impl Repeats, task: u64) -> Outcomes {
    let mut random = fastrand::Rng::with_seed(task);
    let mut outcomes = Outcomes::default();
    for number in task * CALLS..(task + 1) * CALLS {
        let request = number.to_string();
        let result = match random.u8(..10) {
            0 => {
                let call = pin!(channel.repeat(&request));
                let Some(result) = poll_some(call, random.u32(..40)).await else {
                    outcomes.cancelled += 1;
                    continue;
                };
                result
            }
            1 => {
                let limit = Duration::from_micros(1 + random.u64(..40_000));
                match channel.limited(limit).repeat(&request).await {
                    Err(error) if error.kind() == ErrorKind::TimedOut => {
                        outcomes.late += 1;
                        continue;
                    }
                    result => result,
                }
            }
            _ => channel.repeat(&request).await,
        };
        assert_eq!(result.expect("nothing is lost"), request, "another reply");
        outcomes.answered.push(number);
    }
    outcomes
}

/// Polls a future up to this many times after the first time. Returns `None` if it is not ready then.
async fn poll_some<F: Future>(mut future: Pin<&mut F>, mut polls: u32) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Calls from `tasks` tasks.
async fn call_from<F: Framing, P: ServerProtocol>(
    tasks: u64,
    protocol: impl FnOnce(Executions) -> P,
) where
    Channel<F>: Repeats,
{
    let executions: Executions = (0..tasks * CALLS).map(|_| AtomicU8::new(0)).collect();
    let server = start(ConcurrentServer::new(protocol(Arc::clone(&executions)))).await;
    let options: ChannelOptions<F> = ChannelOptions::new(server.addr()).connections(2);
    let channel = options.connect_lazily().expect("good options");
    let mut running = JoinSet::new();
    for task in 0..tasks {
        running.spawn(calls(channel.clone(), task));
    }
    let mut all = Outcomes::default();
    // The tasks end at nearly the same time, after all calls.
    let limit = Duration::from_mins(5);
    while let Some(outcomes) = timeout(limit, running.join_next()).await.expect("they end") {
        let outcomes = outcomes.expect("no panic");
        all.answered.extend(outcomes.answered);
        all.late += outcomes.late;
        all.cancelled += outcomes.cancelled;
    }
    let state = channel.state();
    assert_eq!((state.connects, state.losses), (2, 0), "{state:?}");
    drop(channel);
    server.stopped().await;

    assert!(
        all.late > 0 && all.cancelled > 0,
        "{} {}",
        all.late,
        all.cancelled
    );
    for number in all.answered {
        let number = usize::try_from(number).expect("64 bits");
        assert_eq!(executions[number].load(Relaxed), 1, "{number} was answered");
    }
    assert!(executions.iter().all(|count| count.load(Relaxed) <= 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_100_000_calls_gets_its_reply_although_others_are_dropped_or_late() {
    call_from::<LengthPrefixed, _>(1_000, |executions| Repeat { executions }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_with_an_id_gets_its_reply_although_others_are_cancelled_or_late() {
    call_from::<Multiplexed, _>(200, |executions| RepeatBeside { executions }).await;
}
