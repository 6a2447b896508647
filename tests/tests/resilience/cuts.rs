//! A connection ends after each of its bytes, in each state of a call. What a call returns agrees with a count of the
//! executions in the server.

use std::{
    collections::{HashMap, VecDeque},
    io, iter,
    sync::{Arc, Mutex},
    time::Duration,
};

use tcs::{
    Channel, Connection, ErrorKind, Execution, Result,
    client::{ChannelOptions, ConnectOptions},
    framing::{Framing, LengthPrefixed, Multiplexed},
    testing::{Pipe, pipe},
};
use tcs_tests::{
    channel::Owned,
    code, control, frame,
    ids::{control_of, message_of},
    patiently,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::sleep,
};

/// The requests. With their headers, they have 1, 2 and 3 bytes more, and their replies 2, 3 and 4.
const REQUESTS: [&str; 3] = ["1", "22", "333"];

/// What [`Client::LogsIn`] says first.
const LOGIN: &str = "login";

/// The bytes of a framing.
trait Wire: Framing {
    const HEADER: usize;
    /// The most requests that a server executes before it replies, in reverse order.
    const TOGETHER: usize;
    /// A client that has a deadline says so before each request.
    const DEADLINE: usize;
    const REPLIES: usize = 3 * Self::HEADER + 9;
    /// A header, the code, and a text.
    const GOING_AWAY: usize = Self::HEADER + 3;

    fn going_away() -> Vec<u8>;

    fn reply(id: u32, text: &str) -> Vec<u8>;
}

impl Wire for LengthPrefixed {
    const HEADER: usize = 4;
    const TOGETHER: usize = 1;
    const DEADLINE: usize = 0;

    fn going_away() -> Vec<u8> {
        control(code::GOING_AWAY, "so")
    }

    fn reply(_id: u32, text: &str) -> Vec<u8> {
        frame(text)
    }
}

impl Wire for Multiplexed {
    const HEADER: usize = 8;
    const TOGETHER: usize = usize::MAX;
    const DEADLINE: usize = Self::HEADER + 5;

    fn going_away() -> Vec<u8> {
        control_of(0, code::GOING_AWAY, "so")
    }

    fn reply(id: u32, text: &str) -> Vec<u8> {
        message_of(id, text)
    }
}

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

    async fn run<F: Wire>(mut self) {
        if self.serve::<F>().await.is_some() {
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
    async fn serve<F: Wire>(&mut self) -> Option<io::Result<()>> {
        let mut received = Vec::new();
        let mut replies = 0;
        loop {
            // Those that it executes before it goes away are answered.
            let most = match self.life.0 {
                Cut::GoingAway(after, _) if replies == after => {
                    self.send(&F::going_away()).await?;
                    return None;
                }
                Cut::GoingAway(after, _) => after - replies,
                _ => usize::MAX,
            };
            let requests: Vec<_> = iter::from_fn(|| take_request::<F>(&mut received))
                .take(most.min(F::TOGETHER))
                .inspect(|(_, request)| self.execute(request))
                .collect();
            for (id, request) in requests.iter().rev() {
                self.send(&F::reply(*id, &reply_to(request))).await?;
                replies += 1;
            }
            if !requests.is_empty() {
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

/// Removes the first complete request, and the notices before it. Returns its id, if there is one, and its text.
fn take_request<F: Wire>(received: &mut Vec<u8>) -> Option<(u32, String)> {
    loop {
        let header = received.get(..F::HEADER)?;
        let length = u32::from_be_bytes(*header.first_chunk()?);
        let id = u32::from_be_bytes(*header.last_chunk()?);
        let end = F::HEADER + usize::try_from(length << 1 >> 1).expect("64 bits");
        let text = received.get(F::HEADER..end)?.to_vec();
        received.drain(..end);
        let is_notice = length >> 31 == 1;
        if !is_notice {
            return Some((id, String::from_utf8(text).expect("text")));
        }
    }
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
    async fn check<F: Wire>(&self, seen: &mut Seen) {
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
            serving.lock().expect("no panic").spawn(server.run::<F>());
            Ok(near)
        };
        let results = patiently(self.call::<F>(open)).await;
        // What the server can receive and execute, it has.
        sleep(2 * PAUSE).await;
        servers.lock().expect("no panic").abort_all();
        for (request, result) in REQUESTS.into_iter().zip(results) {
            let executions = executions.lock().expect("no panic");
            let count = executions.get(request).copied().unwrap_or_default();
            self.judge(request, &result, count, seen);
        }
    }

    async fn call<F: Wire>(
        &self,
        open: impl Fn() -> io::Result<Pipe> + Send + Sync + 'static,
    ) -> Vec<Result<String>> {
        let options = ConnectOptions::new();
        let channel = match self.client {
            Client::Connection => {
                let near = open().expect("it is not refused");
                let mut connection: Connection<F> = options.over(near).expect("good options");
                return one_after_the_other(&mut connection).await;
            }
            Client::Shared => {
                let near = open().expect("it is not refused");
                let connection: Connection<F> = options.over(near).expect("good options");
                connection.into_channel().expect("a runtime")
            }
            _ => {
                let options = ChannelOptions::<F>::over(move || {
                    let opened = open();
                    async { opened }
                });
                let mut options = options.retries(self.client != Client::WithoutRetries);
                if self.client == Client::LogsIn {
                    options = options.on_connect(|mut connection| async {
                        let reply = connection.call::<Owned<F>>(LOGIN).await?;
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

async fn call<F: Wire>(channel: Channel<F>, request: &'static str) -> Result<String> {
    channel.call::<Owned<F>>(request).await
}

async fn one_after_the_other<F: Wire>(connection: &mut Connection<F>) -> Vec<Result<String>> {
    let mut results = Vec::new();
    for request in REQUESTS {
        results.push(connection.call::<Owned<F>>(request).await);
        idle().await;
    }
    results
}

/// Returns each cut of a connection of three calls.
fn cuts<F: Wire>(client: Client) -> Vec<Cut> {
    let notice = if client == Client::Deadline {
        F::DEADLINE
    } else {
        0
    };
    let received = (0..=3 * (notice + F::HEADER) + 6).map(Cut::Received);
    let sent = (0..=F::REPLIES).map(Cut::Sent);
    let replies = [0, F::HEADER + 2, 2 * F::HEADER + 5, F::REPLIES].into_iter();
    let going_away = replies.enumerate().flat_map(|(replies, bytes)| {
        (bytes..=bytes + F::GOING_AWAY).map(move |bytes| Cut::GoingAway(replies, bytes))
    });
    received.chain(sent).chain(going_away).collect()
}

/// Returns what a channel meets before the connection that is cut.
fn before<F: Wire>(client: Client) -> Vec<Vec<Life>> {
    let refused = (Cut::Refused, End::Close);
    let mut all = vec![
        vec![],
        vec![(Cut::Received(F::HEADER + 3), End::Close), refused],
        vec![refused],
        vec![(Cut::GoingAway(0, F::GOING_AWAY), End::Close)],
    ];
    all.truncate(match client {
        // There is no other connection.
        Client::Shared | Client::Connection => 1,
        // What ids change is on the last one.
        _ if F::TOGETHER > 1 => 2,
        _ => 4,
    });
    all
}

/// Checks these cuts for a client, after each of these lists of connections that have ended before.
async fn check<F: Wire>(client: Client, before: &[Vec<Life>], cuts: &[Cut]) -> Seen {
    let mut seen = Seen::default();
    for before in before {
        for cut in cuts {
            for end in [End::Close, End::Reset, End::Silence, End::Pause] {
                for timing in [Timing::Together, Timing::Apart] {
                    // The first pipe keeps most of what is sent in the queue.
                    for pipe in [3, 1 << 10] {
                        let case = Case {
                            client,
                            timing,
                            pipe,
                            lives: [before, &[(*cut, end)][..]].concat(),
                        };
                        case.check::<F>(&mut seen).await;
                    }
                }
            }
        }
    }
    seen
}

/// Checks all cuts for a client, with both framings, and that this was seen.
async fn check_all(client: Client, is_seen: impl Fn(&Seen) -> bool) {
    async fn all<F: Wire>(client: Client) -> Seen {
        check::<F>(client, &before::<F>(client), &cuts::<F>(client)).await
    }
    for seen in [
        all::<LengthPrefixed>(client).await,
        all::<Multiplexed>(client).await,
    ] {
        assert!(is_seen(&seen), "{seen:?}");
    }
}

fn some_are_unknown(seen: &Seen) -> bool {
    seen.replies > 0 && seen.unknown_and_executed > 0 && seen.unknown_and_not_executed > 0
}

#[tokio::test(start_paused = true)]
async fn lasting_channel_executes_no_request_twice_and_fails_only_where_it_may_have_been_executed()
{
    check_all(Client::Lasting, some_are_unknown).await;
}

#[tokio::test(start_paused = true)]
async fn idempotent_calls_are_answered_wherever_the_connection_is_cut() {
    let is_seen = |seen: &Seen| seen.replies > 0 && seen.executed_twice > 0;
    check_all(Client::Idempotent, is_seen).await;
}

#[tokio::test(start_paused = true)]
async fn late_calls_are_executed_at_most_once_and_only_if_they_say_so() {
    check_all(Client::Deadline, some_are_unknown).await;
}

#[tokio::test(start_paused = true)]
async fn calls_without_retries_tell_what_became_of_their_requests() {
    check_all(Client::WithoutRetries, Seen::has_all_errors).await;
}

#[tokio::test(start_paused = true)]
async fn shared_connection_tells_what_became_of_its_requests() {
    check_all(Client::Shared, Seen::has_all_errors).await;
}

#[tokio::test(start_paused = true)]
async fn connection_tells_what_became_of_its_requests() {
    check_all(Client::Connection, Seen::has_all_errors).await;
}

async fn on_connect_is_cut<F: Wire>() {
    let bytes = F::HEADER + LOGIN.len();
    let received = (0..bytes).map(Cut::Received);
    let sent = (0..=bytes).map(Cut::Sent);
    let going_away = (0..=F::GOING_AWAY).map(|bytes| Cut::GoingAway(0, bytes));
    let cuts: Vec<_> = received.chain(sent).chain(going_away).collect();
    let seen = check::<F>(Client::LogsIn, &[vec![]], &cuts).await;
    // Four ends, two timings, two pipes.
    assert_eq!(seen.replies, cuts.len() * 16 * REQUESTS.len());
}

#[tokio::test(start_paused = true)]
async fn no_call_notices_where_the_exchange_of_on_connect_is_cut() {
    on_connect_is_cut::<LengthPrefixed>().await;
    on_connect_is_cut::<Multiplexed>().await;
}
