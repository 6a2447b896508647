//! A client that a hostile server answers, in virtual time.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use tcs::{
    Channel, Connection, Execution, Result,
    client::ConnectOptions,
    framing::{Framing, LengthPrefixed, Lines, Multiplexed, ReadState, Side},
};
use tcs_tests::{
    client::{Text, ask},
    cutting::{self, Found},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::in_virtual_time;

/// The longest reply that the clients accept, in bytes.
const LIMIT: usize = 100;

/// So many actions are done. More would exceed the day of the clock.
const MAX_ACTIONS: usize = 100;

/// How long an action may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a server does. An honest one sends nothing by hand, and a reply answers the request that its first byte chooses.
#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Send(&'a [u8]),
    Reply(&'a [u8]),
    Wait(u8),
    Read(u8),
}

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    framing: u8,
    /// The kind of client, and in the highest bit whether the server is honest.
    client: u8,
    /// The number of calls, and in the next two bits how long each is waited for.
    calls: u8,
    pipe: u8,
    actions: Vec<Action<'a>>,
}

impl Case<'_> {
    fn is_honest(&self) -> bool {
        self.client & 0x80 != 0
    }

    fn calls(&self) -> u8 {
        self.calls % 8
    }

    /// Returns the time after which a call is dropped: before the reply timeout, or never.
    fn patience(&self) -> Duration {
        Duration::from_secs([1_000, 1, 5, 30][usize::from(self.calls >> 3) % 4])
    }
}

/// Answers any client with anything.
pub fn check(data: &[u8]) {
    let Ok(case) = Case::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    match case.framing % 3 {
        0 => in_order::<LengthPrefixed>(&case),
        1 => in_order::<Lines>(&case),
        // Its replies come in any order, so it has no pipelines.
        _ => with_client::<Multiplexed>(&case, Order::Any, calls),
    }
}

fn in_order<F: Framing + Sync>(case: &Case<'_>) {
    if case.client.is_multiple_of(3) {
        with_client::<F>(case, Order::OfRequests, pipeline);
    } else {
        with_client::<F>(case, Order::OfRequests, calls);
    }
}

/// The number of a call, and its result, unless it was dropped.
type Calls = Vec<(u8, Result<String>)>;

fn with_client<F: Framing + Sync>(
    case: &Case<'_>,
    order: Order,
    client: impl AsyncFnOnce(&Case<'_>, Connection<F>) -> Calls,
) {
    in_virtual_time(async {
        let (near, far) = tokio::io::duplex(1 + usize::from(case.pipe));
        let options = ConnectOptions::new()
            .reply_timeout(Duration::from_mins(1))
            .max_frame_len(LIMIT);
        let connection: Connection<F> = options.over(near).expect("good options");
        let serving = async {
            let mut server = Server {
                stream: far,
                order,
                received: Vec::new(),
                answered: Vec::new(),
            };
            server.act::<F>(case).await;
            // The client learns now that it has ended, if it waits.
            drop(server.stream);
            requests::<F>(&server.received)
        };
        let calling = async {
            if case.client % 3 == 1 {
                channel(case, connection.into_channel().expect("a runtime")).await
            } else {
                client(case, connection).await
            }
        };
        let (calls, requests) = tokio::join!(calling, serving);
        judge(case, calls, &requests);
    });
}

/// In which order replies may come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    OfRequests,
    Any,
}

struct Server {
    stream: DuplexStream,
    order: Order,
    received: Vec<u8>,
    /// The places of the requests that have a reply.
    answered: Vec<usize>,
}

impl Server {
    /// Does what the case says, then reads what comes.
    async fn act<F: Framing>(&mut self, case: &Case<'_>) {
        for action in case.actions.iter().take(MAX_ACTIONS) {
            let bytes = match action {
                Action::Send(_) if case.is_honest() => continue,
                Action::Send(bytes) => Some(bytes.to_vec()),
                Action::Reply(which) if case.is_honest() => {
                    let which = which.first().copied().unwrap_or_default();
                    self.reply::<F>(which.into()).await
                }
                Action::Reply(message) => cutting::write_one::<F>(message).ok(),
                Action::Wait(seconds) => {
                    sleep(Duration::from_secs((*seconds).into())).await;
                    None
                }
                Action::Read(count) => {
                    self.read((*count).into()).await;
                    None
                }
            };
            let sending = self.stream.write_all(bytes.as_deref().unwrap_or_default());
            if !matches!(timeout(PATIENCE, sending).await, Ok(Ok(()))) {
                break;
            }
        }
        self.read(1 << 20).await;
    }

    /// Reads so many bytes, or those that come in time. Returns `false` if there were none.
    async fn read(&mut self, count: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let start = self.received.len();
        while self.received.len() < start + count {
            let room = start + count - self.received.len();
            let mut limited = (&mut self.stream).take(room as u64);
            let read = limited.read_buf(&mut self.received);
            if !matches!(timeout_at(deadline, read).await, Ok(Ok(1..))) {
                break;
            }
        }
        self.received.len() > start
    }

    /// Returns the reply to one of the requests that have none, once there is such a request.
    async fn reply<F: Framing>(&mut self, which: usize) -> Option<Vec<u8>> {
        loop {
            let requests = requests::<F>(&self.received);
            let mut open: Vec<_> = (0..requests.len()).collect();
            open.retain(|place| !self.answered.contains(place));
            if !open.is_empty() {
                let place = match self.order {
                    Order::OfRequests => open[0],
                    Order::Any => open[which % open.len()],
                };
                self.answered.push(place);
                let (id, request) = &requests[place];
                return Some(framed::<F>(*id, &reply_to(request)));
            }
            if !self.read(1).await {
                return None;
            }
        }
    }
}

/// Returns the complete requests in what a server has received, with their ids.
fn requests<F: Framing>(received: &[u8]) -> Vec<(u32, String)> {
    let read = cutting::read_until::<F>(Side::Server, &[received], ReadState::Idle, 1 << 20);
    assert!(read.error.is_none(), "{:?}", read.error);
    let requests = read.found.into_iter().zip(read.ids);
    let requests = requests.filter_map(|(found, id)| match found {
        Found::Message(text) => Some((id, String::from_utf8(text).expect("a number"))),
        // A request was cancelled.
        _ => None,
    });
    requests.collect()
}

fn framed<F: Framing>(id: u32, text: &str) -> Vec<u8> {
    let (mut framing, mut out) = (F::default(), Vec::new());
    framing.set_id(id);
    framing.begin(&mut out);
    out.extend_from_slice(text.as_bytes());
    framing.finish(&mut out, 0).expect("it can be sent");
    out
}

fn reply_to(request: &str) -> String {
    format!("reply to {request}")
}

/// Fails unless each call has its own reply, or an error that tells the truth.
fn judge(case: &Case<'_>, calls: Calls, requests: &[(u32, String)]) {
    let times = |call: u8| {
        let call = call.to_string();
        requests.iter().filter(|(_, it)| *it == call).count()
    };
    for call in 0..case.calls() {
        assert!(times(call) <= 1, "{call} was sent {} times", times(call));
    }
    for (call, result) in calls {
        match result {
            Ok(reply) if case.is_honest() => {
                assert_eq!(reply, reply_to(&call.to_string()));
                assert_eq!(times(call), 1);
            }
            Ok(reply) => assert!(reply.len() <= LIMIT),
            Err(error) => match error.execution() {
                Execution::NotSent => assert_eq!(times(call), 0, "{error}"),
                Execution::Unknown => {}
                // Only a server can say so.
                told => assert!(!case.is_honest(), "{told:?}: {error}"),
            },
        }
    }
}

async fn calls<F: Framing>(case: &Case<'_>, mut connection: Connection<F>) -> Calls {
    let mut results = Calls::new();
    for call in 0..case.calls() {
        let request = call.to_string();
        let result = if call % 2 == 0 {
            timeout(case.patience(), connection.exchange(ask::<F>(&request))).await
        } else {
            let reply = timeout(case.patience(), connection.call::<Text<F>>(&request)).await;
            reply.map(|reply| reply.map(str::to_owned))
        };
        results.extend(result.ok().map(|result| (call, result)));
    }
    connection.close().await;
    results
}

async fn pipeline<F: Framing>(case: &Case<'_>, mut connection: Connection<F>) -> Calls {
    let mut pipeline = connection.pipeline::<Text<F>>();
    let mut results = Calls::new();
    let mut sent = 0;
    for call in 0..case.calls() {
        if let Err(error) = pipeline.send(&call.to_string()).await {
            results.push((call, Err(error)));
            break;
        }
        sent += 1;
    }
    // An error that ends the connection is told once for each request.
    let mut received = 0;
    while received <= sent {
        match pipeline.receive().await {
            Ok(Some(reply)) => results.push((received, Ok(reply.to_owned()))),
            Ok(None) => break,
            Err(error) => results.push((received, Err(error))),
        }
        received += 1;
    }
    assert_eq!(received, sent, "replies to so many requests");
    results
}

async fn channel<F: Framing + Sync>(case: &Case<'_>, channel: Channel<F>) -> Calls {
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..case.calls() {
        let (channel, patience) = (channel.clone(), case.patience());
        calls.spawn(async move {
            let request = call.to_string();
            let result = timeout(patience, channel.exchange(ask::<F>(&request))).await;
            result.ok().map(|result| (call, result))
        });
    }
    drop(channel);
    let results = calls.join_all().await;
    results.into_iter().flatten().collect()
}
