//! Clients under a faulty server, in memory.
//!
//! The rules: a call returns its reply, or the kind of error that the fault is, in time; what the error says of the
//! execution agrees with what the server has read; no call gets the reply of another, or what is none; a channel that
//! lasts goes on over another connection, and a request is executed at most once.

use std::{
    collections::{HashMap, VecDeque},
    io,
    marker::PhantomData,
    sync::{Arc, Mutex},
    time::Duration,
};

use tcs::{
    Channel, Connection, Error, ErrorKind, Execution,
    client::{ChannelOptions, ConnectOptions},
    format::Plain,
    framing::{Announcement, Framing, Side},
    protocol::{Contract, Streams},
    testing::{Pipe, pipe},
};
use tcs_tests::{code, control, cutting::Found, within};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::sleep,
};

use crate::table::{Cells, Row, encode, found, message, parsed, seed};

/// The command of requests and their replies, and of items.
const ECHO: u8 = 1;
const ITEM: u8 = 7;
/// The number of the call after the fault.
const NEXT: u8 = 50;
/// The number of a message that nobody has asked for.
const UNASKED: u8 = 77;

/// Long enough that none is met but by a server that stalls.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What the server does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It closes, or cannot be reached.
    Close,
    /// It closes its sending half, and reads.
    HalfClose,
    Reset,
    /// It neither sends nor reads any more, or does not answer who connects.
    Stall,
    /// What it sends comes byte by byte.
    Bytewise,
    Garbage,
    /// It sends a reply that nobody waits for.
    Unasked,
    /// It says that it executes nothing more, and closes.
    GoingAway,
}

use Fault::{Bytewise, Close, Garbage, GoingAway, HalfClose, Reset, Stall, Unasked};

const FAULTS: [Fault; 8] = [
    Close, HalfClose, Reset, Stall, Bytewise, Garbage, Unasked, GoingAway,
];

/// Where the call is when that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    /// A byte of the request was read, and there is no room for the others.
    Sending,
    Waiting,
    /// The first byte of the reply was sent, or all but the last.
    FirstByte,
    LastByteMissing,
    /// Two items of a streamed reply were sent.
    InStream,
    /// The first of three requests was answered.
    Pipelined,
    /// A call is over, and another begins.
    Idle,
}

const STATES: [State; 8] = [
    State::Connecting,
    State::Sending,
    State::Waiting,
    State::FirstByte,
    State::LastByteMissing,
    State::InStream,
    State::Pipelined,
    State::Idle,
];

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Connection,
    /// A channel of one connection.
    Shared,
    /// A channel that lasts.
    Lasting,
}

/// Makes the cells of one framing.
pub(crate) fn cells<R: Row>() -> Cells {
    let mut all = Cells::default();
    for caller in [Caller::Connection, Caller::Shared, Caller::Lasting] {
        for state in STATES {
            for fault in FAULTS {
                if is_possible::<R>(caller, state, fault) {
                    let name = format!("{caller:?}/{state:?}/{fault:?}");
                    let run = CellRun::<R> {
                        caller,
                        state,
                        fault,
                        seed: seed(&name),
                        shared: Arc::default(),
                        row: PhantomData,
                    };
                    all.paused.push((name, Box::pin(run.check())));
                }
            }
        }
    }
    all
}

fn is_possible<R: Row>(caller: Caller, state: State, fault: Fault) -> bool {
    let has_notices = R::Framing::HAS_REJECTION_FRAME;
    let has_state = match state {
        State::Connecting => caller == Caller::Lasting && matches!(fault, Close | Stall),
        // Channels have them only with `Multiplexed`, which the types must know.
        State::InStream => has_notices && caller == Caller::Connection,
        _ => true,
    };
    let has_fault = match fault {
        // An id says that it is for no call, or for one that was given up.
        Unasked => state == State::Idle && !R::Framing::HAS_IDS,
        // Multiplexed has another form of it, which is no message of `control`.
        GoingAway => {
            has_notices
                && !R::Framing::HAS_IDS
                && !matches!(state, State::FirstByte | State::LastByteMissing)
        }
        Bytewise => !matches!(state, State::Sending | State::Idle),
        _ => true,
    };
    has_state && has_fault
}

/// What the servers tell the test.
#[derive(Debug, Default)]
struct Shared {
    /// How often each request was read completely, and not rejected.
    executed: Mutex<HashMap<u8, usize>>,
    /// Which requests were rejected because the server goes away.
    rejected: Mutex<Vec<u8>>,
    /// The servers that run.
    tasks: Mutex<JoinSet<()>>,
}

/// Bytes both ways.
struct Bytes<R>(PhantomData<R>);

impl<R: Row> Contract for Bytes<R> {
    type Framing = R::Framing;
    type Format = Plain;
    type Request<'a> = &'a [u8];
    type Reply<'a> = String;
}

impl<R: Row> Streams for Bytes<R> {
    type Format = Plain;
    type Item<'a> = &'a [u8];
}

/// The server's end of a connection.
struct RawServer<R> {
    stream: Pipe,
    received: Vec<u8>,
    /// How many of the messages in it were taken.
    taken: usize,
    shared: Arc<Shared>,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> RawServer<R> {
    fn new(stream: Pipe, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            received: Vec::new(),
            taken: 0,
            shared,
            row: PhantomData,
        }
    }

    /// Reads at most this many bytes. Returns `false` at the end.
    async fn read(&mut self, limit: usize) -> bool {
        let mut bytes = vec![0; limit];
        let count = self.stream.read(&mut bytes).await.unwrap_or_default();
        self.received.extend_from_slice(&bytes[..count]);
        count > 0
    }

    /// Receives the next request: its id and number.
    async fn next(&mut self) -> Option<(u32, u8)> {
        loop {
            let read = found::<R>(Side::Server, &self.received, false);
            let requests = read.found.iter().zip(&read.ids);
            let mut requests = requests.filter_map(|(found, id)| match found {
                Found::Message(message) => Some((*id, parsed::<R>(message)?.1)),
                _ => None,
            });
            if let Some((id, number)) = requests.nth(self.taken) {
                self.taken += 1;
                let mut executed = self.shared.executed.lock().expect("no panic");
                *executed.entry(number).or_default() += 1;
                return Some((id, number));
            }
            if !self.read(1 << 16).await {
                return None;
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The client may be gone.
        self.stream.write_all(bytes).await.ok();
    }

    /// Replies to all requests.
    async fn serve(&mut self) {
        while let Some((id, number)) = self.next().await {
            self.send(&reply::<R>(id, number)).await;
        }
    }

    /// Goes to the state, and is at fault.
    async fn run(mut self, state: State, fault: Fault, seed: u64) {
        let mut rest = Vec::new();
        let mut waiting = Vec::new();
        match state {
            State::Connecting => {}
            State::Sending => {
                self.read(1).await;
            }
            State::Waiting | State::FirstByte | State::LastByteMissing | State::InStream => {
                let Some((id, number)) = self.next().await else {
                    return;
                };
                waiting.push(number);
                rest = reply::<R>(id, number);
                let sent = match state {
                    State::FirstByte => 1,
                    State::LastByteMissing => rest.len() - 1,
                    _ => 0,
                };
                let sent: Vec<_> = rest.drain(..sent).collect();
                self.send(&sent).await;
                if state == State::InStream {
                    for number in 1..=2 {
                        let item = message::<R>(ITEM, number);
                        let items = Some(Announcement::Items);
                        self.send(&encode::<R>(Side::Server, id, &item, items))
                            .await;
                    }
                }
            }
            State::Pipelined => {
                for place in 0..3 {
                    let Some((id, number)) = self.next().await else {
                        return;
                    };
                    if place == 0 {
                        rest = reply::<R>(id, number);
                    } else {
                        waiting.push(number);
                    }
                    if fault == Bytewise && place > 0 {
                        rest.extend(reply::<R>(id, number));
                    }
                }
                if fault != Bytewise {
                    let first = std::mem::take(&mut rest);
                    self.send(&first).await;
                }
            }
            State::Idle => {
                let Some((id, number)) = self.next().await else {
                    return;
                };
                self.send(&reply::<R>(id, number)).await;
            }
        }
        // The client goes as far as it can.
        sleep(Duration::from_millis(1)).await;
        match fault {
            Close => {}
            Reset => self.stream.reset(),
            HalfClose => {
                self.stream.shutdown().await.ok();
                while self.next().await.is_some() {}
            }
            Stall => std::future::pending().await,
            Bytewise => {
                for byte in rest {
                    self.send(&[byte]).await;
                    sleep(Duration::from_millis(1)).await;
                }
                self.serve().await;
            }
            Garbage => {
                let garbage = garbage(seed);
                self.send(&garbage).await;
                while self.next().await.is_some() {}
            }
            Unasked => {
                self.send(&reply::<R>(1, UNASKED)).await;
                while self.next().await.is_some() {}
            }
            GoingAway => {
                self.shared.reject(waiting);
                self.send(&control(code::GOING_AWAY, "so")).await;
            }
        }
    }
}

impl Shared {
    fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().expect("no panic").spawn(server);
    }

    /// The server has not executed these requests after all.
    fn reject(&self, numbers: Vec<u8>) {
        let mut executed = self.executed.lock().expect("no panic");
        for number in &numbers {
            executed.remove(number);
        }
        self.rejected.lock().expect("no panic").extend(numbers);
    }
}

fn garbage(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..128).map(|_| random.u8(..)).collect()
}

fn reply<R: Row>(id: u32, number: u8) -> Vec<u8> {
    encode::<R>(Side::Server, id, &message::<R>(ECHO, number), None)
}

/// Whether a call has returned its own reply. A framing may have put a length into its header.
fn is_reply<R: Row>(outcome: &Outcome, number: u8) -> bool {
    let reply = outcome.as_ref().ok();
    reply.and_then(|reply| parsed::<R>(reply.as_bytes())) == Some((ECHO, number))
}

/// What a call has returned.
type Outcome = Result<String, Error>;

/// A cell while it runs.
struct CellRun<R> {
    caller: Caller,
    state: State,
    fault: Fault,
    seed: u64,
    shared: Arc<Shared>,
    row: PhantomData<fn() -> R>,
}

/// A client of either kind.
enum Client<R: Row> {
    Connection(Box<Connection<R::Framing>>),
    Channel(Channel<R::Framing>),
}

impl<R: Row> CellRun<R> {
    async fn check(self) {
        let mut client = self.connect();
        let outcomes = within(self.calls(&mut client)).await;
        for (number, outcome) in &outcomes {
            self.judge(*number, outcome);
        }
        within(self.goes_on(&mut client)).await;
        for (number, times) in &*self.shared.executed.lock().expect("no panic") {
            assert_eq!(*times, 1, "executions of {number}");
        }
        // Those that stall.
        self.shared.tasks.lock().expect("no panic").abort_all();
    }

    /// Connects to servers, of which the first is at fault.
    fn connect(&self) -> Client<R> {
        let options = ConnectOptions::new()
            .reply_timeout(REPLY_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT);
        let room = if self.state == State::Sending {
            3
        } else {
            1 << 16
        };
        let (state, fault, seed) = (self.state, self.fault, self.seed);
        let faulty = {
            let shared = Arc::clone(&self.shared);
            move || {
                let (near, far) = pipe(room);
                let server = RawServer::<R>::new(far, Arc::clone(&shared));
                shared.spawn(server.run(state, fault, seed));
                near
            }
        };
        if self.caller != Caller::Lasting {
            let connection = options.over(faulty()).expect("good options");
            return match self.caller {
                Caller::Shared => Client::Channel(connection.into_channel().expect("a runtime")),
                _ => Client::Connection(Box::new(connection)),
            };
        }
        let shared = Arc::clone(&self.shared);
        let lives = Arc::new(Mutex::new(VecDeque::from([true])));
        let channel = ChannelOptions::over(move || {
            let is_faulty = lives.lock().expect("no panic").pop_front().is_some();
            let opened: io::Result<_> = match (is_faulty, state, fault) {
                (true, State::Connecting, Close) => Err(io::ErrorKind::ConnectionRefused.into()),
                (true, ..) => Ok(faulty()),
                (false, ..) => {
                    let (near, far) = pipe(1 << 16);
                    let mut server = RawServer::<R>::new(far, Arc::clone(&shared));
                    shared.spawn(async move { server.serve().await });
                    Ok(near)
                }
            };
            async move {
                if is_faulty && (state, fault) == (State::Connecting, Stall) {
                    std::future::pending::<()>().await;
                }
                opened
            }
        });
        let channel = channel.connect_options(options).connect_lazily();
        Client::Channel(channel.expect("good options"))
    }

    /// Makes the calls of the state. Returns what became of those that meet the fault.
    async fn calls(&self, client: &mut Client<R>) -> Vec<(u8, Outcome)> {
        match self.state {
            State::Pipelined => client.call_all([1, 2, 3]).await,
            State::InStream => vec![(1, client.stream(1).await)],
            State::Idle => {
                let first = client.call(1).await;
                assert!(is_reply::<R>(&first, 1), "{first:?}");
                sleep(Duration::from_millis(10)).await;
                vec![(2, client.call(2).await)]
            }
            _ => vec![(1, client.call(1).await)],
        }
    }

    /// Fails unless a call has returned what it may.
    fn judge(&self, number: u8, outcome: &Outcome) {
        self.is_true(number, outcome);
        let lasts = self.caller == Caller::Lasting;
        let is_answered = match (self.state, self.fault) {
            // Random bytes may be any message, and what is wrong of the replies was found above.
            (_, Garbage) => return,
            (State::Connecting, _) | (_, Bytewise) => true,
            (State::Pipelined, _) if number == 1 => true,
            // The request is sent over another connection, because it is known not to be executed.
            (_, GoingAway) => lasts && self.state != State::InStream,
            (State::Idle, Close | HalfClose | Reset | Unasked) => lasts,
            _ => false,
        };
        let Err(error) = outcome else {
            assert!(is_answered, "no error");
            return;
        };
        assert!(!is_answered, "{error:?} instead of a reply");
        let told = (error.kind(), error.execution());
        let is_expected = match (self.state, self.fault) {
            (_, GoingAway) if self.state != State::Idle => {
                told == (ErrorKind::Rejected, Execution::NotExecuted)
            }
            (State::Idle, Stall) => told == (ErrorKind::TimedOut, Execution::Unknown),
            // It depends on which is seen first, the end or that the request is not taken.
            (State::Idle, _) => {
                use ErrorKind::{Broken, Closed, Io, Rejected, Reply};
                matches!(error.kind(), Broken | Closed | Io | Rejected | Reply)
                    && error.execution() != Execution::Executed
            }
            (State::Sending, Close) => {
                matches!(error.kind(), ErrorKind::Closed | ErrorKind::Io)
                    && error.execution() == Execution::Unknown
            }
            (_, Close | HalfClose) => told == (ErrorKind::Closed, Execution::Unknown),
            (_, Reset) => told == (ErrorKind::Io, Execution::Unknown),
            (_, Stall) => told == (ErrorKind::TimedOut, Execution::Unknown),
            _ => false,
        };
        assert!(is_expected, "{told:?}: {error:?}");
    }

    /// Fails unless a reply is the call's own, and what an error says of the execution is true.
    fn is_true(&self, number: u8, outcome: &Outcome) {
        let executed = self.shared.executed.lock().expect("no panic");
        let was_executed = executed.contains_key(&number);
        let error = match outcome {
            Ok(_) if is_reply::<R>(outcome, number) => {
                assert!(was_executed, "a reply to nothing");
                return;
            }
            Ok(reply) => {
                assert_eq!(self.fault, Garbage, "another reply: {reply:?}");
                return;
            }
            Err(error) => error,
        };
        let is_true = match error.execution() {
            Execution::NotSent => !was_executed,
            Execution::NotExecuted => {
                self.fault == Garbage
                    || self
                        .shared
                        .rejected
                        .lock()
                        .expect("no panic")
                        .contains(&number)
                    || !was_executed
            }
            Execution::Executed => self.fault == Garbage,
            Execution::Unknown => true,
        };
        assert!(is_true, "{error:?}, executed: {was_executed}");
    }

    /// Fails unless a further call is answered if the client can go on, and otherwise says that it was not sent.
    async fn goes_on(&self, client: &mut Client<R>) {
        let next = client.call(NEXT).await;
        self.is_true(NEXT, &next);
        let is_whole = self.fault == Bytewise;
        match next {
            Ok(_) if self.fault == Garbage => {}
            Ok(_) => assert!(is_whole || self.caller == Caller::Lasting, "it goes on"),
            Err(error) if self.caller == Caller::Lasting => {
                // What was sent may be the first part of a message.
                assert_eq!(self.fault, Garbage, "{error:?}");
                let last = client.call(NEXT + 1).await;
                assert!(is_reply::<R>(&last, NEXT + 1), "{last:?}");
            }
            Err(error) if self.fault == Garbage => drop(error),
            Err(error) => {
                assert!(!is_whole, "{error:?}");
                assert_eq!(error.execution(), Execution::NotSent, "{error:?}");
            }
        }
    }
}

impl<R: Row> Client<R> {
    async fn call(&mut self, number: u8) -> Outcome {
        let request = message::<R>(ECHO, number);
        match self {
            Self::Connection(connection) => connection.call::<Bytes<R>>(&request).await,
            Self::Channel(channel) => channel.call::<Bytes<R>>(&request).await,
        }
    }

    /// Makes several calls at once.
    async fn call_all(&mut self, numbers: [u8; 3]) -> Vec<(u8, Outcome)> {
        let mut outcomes = Vec::new();
        match self {
            Self::Connection(connection) => {
                let mut pipeline = connection.pipeline::<Bytes<R>>();
                for number in numbers {
                    let sent = pipeline.send(&message::<R>(ECHO, number)).await;
                    sent.expect("there is room");
                }
                for number in numbers {
                    let received = pipeline.receive().await;
                    let outcome = received.map(|reply| reply.expect("one is in flight"));
                    outcomes.push((number, outcome));
                }
            }
            Self::Channel(channel) => {
                let mut calls = JoinSet::new();
                for number in numbers {
                    let mut client = Self::Channel(channel.clone());
                    calls.spawn(async move { (number, client.call(number).await) });
                }
                outcomes = calls.join_all().await;
                outcomes.sort_unstable_by_key(|(number, _)| *number);
            }
        }
        outcomes
    }

    /// Receives a streamed reply, and fails unless its items are those that were sent, as far as they come.
    async fn stream(&mut self, number: u8) -> Outcome {
        let request = message::<R>(ECHO, number);
        let mut count = 0;
        let mut check = |item: &[u8]| {
            count += 1;
            let is_next = count <= 2 && item == message::<R>(ITEM, count);
            is_next || parsed::<R>(item).is_none()
        };
        let Self::Connection(connection) = self else {
            panic!("only connections have streams here");
        };
        let mut items = connection.stream::<Bytes<R>>(&request).await?;
        while let Some(item) = items.next().await? {
            assert!(check(item), "another item: {item:?}");
        }
        items.finish().await
    }
}
