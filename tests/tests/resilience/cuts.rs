//! A connection ends after each of its bytes, in each state of a call. What a call returns agrees with a count of the
//! executions in the server.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tcs::{
    Channel, Connection, ErrorKind, Execution, Result,
    client::{ChannelOptions, ConnectOptions},
    framing::LengthPrefixed,
    testing::{Pipe, pipe},
};
use tcs_tests::{channel::Owned, code, control, frame, patiently};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::sleep,
};

/// The requests. Their frames have 5, 6 and 7 bytes, and their replies one more.
const REQUESTS: [&str; 3] = ["1", "22", "333"];

const REQUEST_BYTES: usize = 18;
const REPLY_BYTES: usize = 21;

/// What [`Client::LogsIn`] says first. Its frame has 9 bytes, and its reply one more.
const LOGIN: &str = "login";
const LOGIN_BYTES: usize = 9;

/// The bytes of `GOING_AWAY`: a header, the code, and a text.
const GOING_AWAY_BYTES: usize = 7;

/// Longer than the deadline of calls, and shorter than the reply timeout.
const PAUSE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(2);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client reads the end.
    Close,
    /// The client gets errors, also in the place of what has arrived.
    Reset,
    /// Nothing arrives any more.
    Silence,
    /// It does not end: the server goes on after [`PAUSE`].
    Pause,
}

/// When a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The client cannot connect.
    Refused,
    /// The server has received this many bytes.
    Received(usize),
    /// The server has sent this many bytes.
    Sent(usize),
    /// The server goes away after this many replies, of which it sends this many bytes.
    GoingAway(usize, usize),
    /// It lasts.
    Never,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Lasting,
    /// Each call has a deadline.
    Deadline,
    Idempotent,
    WithoutRetries,
    /// Each connection begins with [`LOGIN`].
    LogsIn,
    /// A channel of one connection.
    Shared,
    Connection,
}

/// When the calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    /// All at once, so that some are queued while others are sent or wait for their replies.
    Together,
    /// One after the other, so that the connection is idle before each.
    Apart,
}

/// A connection: when it ends, and how.
type Life = (Cut, End);

/// The number of executions of each request.
type Executions = Arc<Mutex<HashMap<String, usize>>>;

/// The server's end of a connection.
struct Server {
    stream: Pipe,
    life: Life,
    executions: Executions,
    /// The number of bytes that may still be received, and sent.
    to_receive: usize,
    to_send: usize,
}

impl Server {
    fn new(stream: Pipe, life: Life, executions: Executions) -> Self {
        let (to_receive, to_send) = match life.0 {
            Cut::Received(bytes) => (bytes, usize::MAX),
            Cut::Sent(bytes) | Cut::GoingAway(_, bytes) => (usize::MAX, bytes),
            Cut::Refused | Cut::Never => (usize::MAX, usize::MAX),
        };
        Self {
            stream,
            life,
            executions,
            to_receive,
            to_send,
        }
    }

    async fn run(mut self) {
        if self.serve().await.is_some() {
            return;
        }
        match self.life.1 {
            // Nothing is left to be sent.
            End::Close | End::Pause => {}
            End::Reset => self.stream.reset(),
            End::Silence => std::future::pending().await,
        }
    }

    /// Returns `None` when the connection is to end, and a value if the client has closed it.
    async fn serve(&mut self) -> Option<io::Result<()>> {
        let mut received = Vec::new();
        let mut replies = 0;
        loop {
            if let Cut::GoingAway(after, _) = self.life.0
                && replies == after
            {
                self.send(&control(code::GOING_AWAY, "so")).await?;
                return None;
            }
            if let Some(request) = take_request(&mut received) {
                self.execute(&request);
                self.send(&frame(reply_to(&request))).await?;
                replies += 1;
                continue;
            }
            let mut bytes = [0; 64];
            let limit = self.to_receive.min(bytes.len());
            if self.to_send == 0 || limit == 0 {
                self.pause().await?;
                continue;
            }
            match self.stream.read(&mut bytes[..limit]).await {
                Ok(0) => return Some(Ok(())),
                Ok(count) => {
                    self.to_receive -= count;
                    received.extend_from_slice(&bytes[..count]);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn execute(&self, request: &str) {
        let mut executions = self.executions.lock().expect("no panic");
        *executions.entry(request.to_owned()).or_default() += 1;
    }

    /// Returns `None` if the connection is to end there.
    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        let (now, later) = bytes.split_at(bytes.len().min(self.to_send));
        self.to_send -= now.len();
        // The client may have closed the connection. Then reading returns its end.
        self.stream.write_all(now).await.ok();
        if !later.is_empty() {
            self.pause().await?;
            self.stream.write_all(later).await.ok();
        }
        Some(())
    }

    /// Waits, and then goes on without a limit. Returns `None` if the connection is to end instead.
    async fn pause(&mut self) -> Option<()> {
        if self.life.1 != End::Pause {
            return None;
        }
        sleep(PAUSE).await;
        (self.to_receive, self.to_send) = (usize::MAX, usize::MAX);
        Some(())
    }
}

fn reply_to(request: &str) -> String {
    format!("={request}")
}

/// Removes the first complete request.
fn take_request(received: &mut Vec<u8>) -> Option<String> {
    let header = received.first_chunk()?;
    let end = 4 + usize::try_from(u32::from_be_bytes(*header)).expect("64 bits");
    let request = received.get(4..end)?.to_vec();
    received.drain(..end);
    Some(String::from_utf8(request).expect("text"))
}

/// One server, its connections in their order, and a client.
#[derive(Clone, Debug)]
struct Case {
    client: Client,
    timing: Timing,
    /// The number of bytes between the two ends.
    pipe: usize,
    /// The connections. Those to come last.
    lives: Vec<Life>,
}

/// What the calls have returned, so that a test that misses a state fails.
#[derive(Debug, Default)]
struct Seen {
    replies: usize,
    not_sent: usize,
    rejected: usize,
    unknown_and_executed: usize,
    unknown_and_not_executed: usize,
    executed_twice: usize,
}

impl Seen {
    fn has_all_errors(&self) -> bool {
        self.not_sent > 0
            && self.rejected > 0
            && self.unknown_and_executed > 0
            && self.unknown_and_not_executed > 0
    }
}

impl Case {
    async fn check(&self, seen: &mut Seen) {
        let executions = Executions::default();
        let lives = Mutex::new(VecDeque::from(self.lives.clone()));
        let servers = Arc::new(Mutex::new(JoinSet::new()));
        let (counted, serving) = (Arc::clone(&executions), Arc::clone(&servers));
        let pipe_len = self.pipe;
        let open = move || {
            let life = lives.lock().expect("no panic").pop_front();
            let life = life.unwrap_or((Cut::Never, End::Close));
            if life.0 == Cut::Refused {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = pipe(pipe_len);
            let server = Server::new(far, life, Arc::clone(&counted));
            serving.lock().expect("no panic").spawn(server.run());
            Ok(near)
        };
        let results = patiently(self.call(open)).await;
        // What the server can receive and execute, it has.
        sleep(2 * PAUSE).await;
        servers.lock().expect("no panic").abort_all();
        for (request, result) in REQUESTS.into_iter().zip(results) {
            let executions = executions.lock().expect("no panic");
            let count = executions.get(request).copied().unwrap_or_default();
            self.judge(request, &result, count, seen);
        }
    }

    async fn call(
        &self,
        open: impl Fn() -> io::Result<Pipe> + Send + Sync + 'static,
    ) -> Vec<Result<String>> {
        let options = ConnectOptions::new();
        let channel = match self.client {
            Client::Connection => {
                let near = open().expect("it is not refused");
                let mut connection = options.over(near).expect("good options");
                return one_after_the_other(&mut connection).await;
            }
            Client::Shared => {
                let near = open().expect("it is not refused");
                let connection: Connection<LengthPrefixed> =
                    options.over(near).expect("good options");
                connection.into_channel().expect("a runtime")
            }
            _ => {
                let options: ChannelOptions = ChannelOptions::over(move || {
                    let opened = open();
                    async { opened }
                });
                let mut options = options.retries(self.client != Client::WithoutRetries);
                if self.client == Client::LogsIn {
                    options = options.on_connect(|mut connection| async {
                        let reply = connection.call::<Owned>(LOGIN).await?;
                        assert_eq!(reply, reply_to(LOGIN));
                        Ok(connection)
                    });
                }
                let channel = options.connect_lazily().expect("good options");
                match self.client {
                    Client::Idempotent => channel.idempotent(),
                    Client::Deadline => channel.deadline(DEADLINE),
                    _ => channel,
                }
            }
        };
        match self.timing {
            Timing::Together => {
                let calls = REQUESTS.map(|request| tokio::spawn(call(channel.clone(), request)));
                let mut results = Vec::new();
                for call in calls {
                    results.push(call.await.expect("no panic"));
                }
                results
            }
            Timing::Apart => {
                let mut results = Vec::new();
                for request in REQUESTS {
                    results.push(call(channel.clone(), request).await);
                    idle().await;
                }
                results
            }
        }
    }

    /// Fails unless what a call has returned agrees with how often its request was executed.
    fn judge(&self, request: &str, result: &Result<String>, count: usize, seen: &mut Seen) {
        let told = |what: &str| {
            format!("{what}: {result:?} of {request:?}, executed {count} times, in {self:?}")
        };
        let is_idempotent = self.client == Client::Idempotent;
        assert!(count <= 1 || is_idempotent, "{}", told("executed again"));
        seen.executed_twice += usize::from(count > 1);
        let error = match result {
            Ok(reply) => {
                assert_eq!(*reply, reply_to(request), "{}", told("another reply"));
                assert!(count >= 1, "{}", told("a reply to nothing"));
                seen.replies += 1;
                return;
            }
            Err(error) => error,
        };
        match error.execution() {
            Execution::NotSent => {
                assert_eq!(count, 0, "{}", told("it was sent"));
                seen.not_sent += 1;
            }
            Execution::NotExecuted => {
                assert_eq!(count, 0, "{}", told("it was executed"));
                seen.rejected += 1;
            }
            Execution::Unknown if count > 0 => seen.unknown_and_executed += 1,
            Execution::Unknown => seen.unknown_and_not_executed += 1,
            Execution::Executed => panic!("{}", told("the server reports no failure")),
        }
        let is_late = error.kind() == ErrorKind::TimedOut;
        match self.client {
            Client::WithoutRetries | Client::Shared | Client::Connection => {}
            // Nothing of them was sent before the cut.
            Client::LogsIn => panic!("{}", told("not answered")),
            Client::Deadline if is_late => {
                let end = self.lives.last().map(|life| life.1);
                let is_slow = matches!(end, Some(End::Silence | End::Pause));
                assert!(is_slow, "{}", told("late"));
            }
            // No retry begins after the reply timeout.
            _ if is_late => {
                let end = self.lives.last().map(|life| life.1);
                assert_eq!(end, Some(End::Silence), "{}", told("late"));
            }
            // Another connection can serve the others.
            Client::Lasting | Client::Deadline => {
                let execution = error.execution();
                assert_eq!(execution, Execution::Unknown, "{}", told("not sent again"));
            }
            Client::Idempotent => panic!("{}", told("not sent again")),
        }
    }
}

/// Lets all tasks run until they wait. The paused clock moves on only then.
async fn idle() {
    sleep(Duration::from_millis(1)).await;
}

async fn call(channel: Channel, request: &'static str) -> Result<String> {
    channel.call::<Owned>(request).await
}

async fn one_after_the_other(connection: &mut Connection<LengthPrefixed>) -> Vec<Result<String>> {
    let mut results = Vec::new();
    for request in REQUESTS {
        results.push(connection.call::<Owned>(request).await);
        idle().await;
    }
    results
}

/// Returns each cut of a connection of three calls.
fn cuts() -> impl Iterator<Item = Cut> {
    let received = (0..=REQUEST_BYTES).map(Cut::Received);
    let sent = (0..=REPLY_BYTES).map(Cut::Sent);
    let replies = [0, 6, 13, REPLY_BYTES].into_iter().enumerate();
    let going_away = replies.flat_map(|(replies, bytes)| {
        (bytes..=bytes + GOING_AWAY_BYTES).map(move |bytes| Cut::GoingAway(replies, bytes))
    });
    received.chain(sent).chain(going_away)
}

/// Checks each cut for a client, after each of these lists of connections that have ended before. Returns what was seen.
async fn check_all(client: Client, before: &[&[Life]]) -> Seen {
    let mut seen = Seen::default();
    for before in before {
        for cut in cuts() {
            for end in [End::Close, End::Reset, End::Silence, End::Pause] {
                for timing in [Timing::Together, Timing::Apart] {
                    // The first pipe keeps most of what is sent in the queue.
                    for pipe in [3, 1 << 10] {
                        let case = Case {
                            client,
                            timing,
                            pipe,
                            lives: [before, &[(cut, end)][..]].concat(),
                        };
                        case.check(&mut seen).await;
                    }
                }
            }
        }
    }
    seen
}

/// What a new channel meets before the connection that is cut.
const RECONNECTING: &[&[Life]] = &[
    &[],
    &[(Cut::Refused, End::Close)],
    &[(Cut::Received(7), End::Close), (Cut::Refused, End::Close)],
    &[(Cut::GoingAway(0, GOING_AWAY_BYTES), End::Close)],
];

#[tokio::test(start_paused = true)]
async fn lasting_channel_executes_no_request_twice_and_fails_only_where_it_may_have_been_executed()
{
    let seen = check_all(Client::Lasting, RECONNECTING).await;
    assert!(
        seen.replies > 0 && seen.unknown_and_executed > 0,
        "{seen:?}"
    );
    assert!(seen.unknown_and_not_executed > 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn idempotent_calls_are_answered_wherever_the_connection_is_cut() {
    let seen = check_all(Client::Idempotent, RECONNECTING).await;
    assert!(seen.replies > 0 && seen.executed_twice > 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn late_calls_are_executed_at_most_once_and_only_if_they_say_so() {
    let seen = check_all(Client::Deadline, RECONNECTING).await;
    assert!(
        seen.replies > 0 && seen.unknown_and_executed > 0,
        "{seen:?}"
    );
    assert!(seen.unknown_and_not_executed > 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_without_retries_tell_what_became_of_their_requests() {
    let seen = check_all(Client::WithoutRetries, RECONNECTING).await;
    assert!(seen.has_all_errors(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn shared_connection_tells_what_became_of_its_requests() {
    let seen = check_all(Client::Shared, &[&[]]).await;
    assert!(seen.has_all_errors(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn connection_tells_what_became_of_its_requests() {
    let seen = check_all(Client::Connection, &[&[]]).await;
    assert!(seen.has_all_errors(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn no_call_notices_where_the_exchange_of_on_connect_is_cut() {
    let mut seen = Seen::default();
    let mut cases = 0;
    let received = (0..LOGIN_BYTES).map(Cut::Received);
    let sent = (0..=LOGIN_BYTES).map(Cut::Sent);
    let going_away = (0..=GOING_AWAY_BYTES).map(|bytes| Cut::GoingAway(0, bytes));
    for cut in received.chain(sent).chain(going_away) {
        for end in [End::Close, End::Reset, End::Silence, End::Pause] {
            for timing in [Timing::Together, Timing::Apart] {
                for pipe in [3, 1 << 10] {
                    let case = Case {
                        client: Client::LogsIn,
                        timing,
                        pipe,
                        lives: vec![(cut, end)],
                    };
                    case.check(&mut seen).await;
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(seen.replies, cases * REQUESTS.len());
}
