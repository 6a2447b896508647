//! Tests a server in all ways in which bytes can arrive and connections can end.

use std::{
    fmt,
    ops::RangeInclusive,
    panic::Location,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    faults::Cut,
    paused_runtime,
    pipe::{Pipe, pipe},
    script::Script,
    seed::Seed,
};
use crate::panics::panic_text;

/// The time for which a server may keep a connection whose peer is gone, or sends nothing more. The clock is paused.
const LIMIT: Duration = Duration::from_hours(1);
/// More polls than any server needs at one time of the clock. Only a server that never waits needs more: the paused
/// clock advances only when all tasks wait.
const MAX_POLLS: usize = 100_000;
const MAX_POLLS_PER_BYTE: usize = 100;
/// The number of seeds that are tried.
const SEEDS: usize = 16;
const PIPE_LEN: usize = 64 << 10;
/// The additional time that a connection may take beside another one, and the time in which a late greeting is found.
/// Servers wait longer for a silent peer.
const TOLERANCE: Duration = Duration::from_secs(10);

/// A test of the bytes of any server: a list of exchanges, which are made in many ways.
///
/// [`check`](Self::check) opens connections to the server in which:
///
/// - each request is sent after the reply to the one before, in one piece, byte by byte, and through a pipe of one byte;
/// - all requests are sent at once, with and without the end of the sending half right after them;
/// - all of this comes in random pieces ([`Seed`]);
/// - the connection is cut at every byte of the requests, in each way ([`Cut`]), and at every byte of the replies;
/// - the peer sends nothing, or does not read;
/// - another connection does nothing in the middle of a request.
///
/// The replies must be those that were listed, and the server must send no more and no less. The server must execute
/// each request that is complete, and no other ([`executed`](Self::executed)). Then the server must end, within an hour
/// of the paused clock, without a panic, and leave no task and nothing that you [count](Self::count).
///
/// # Examples
///
/// A server of this library:
///
/// ```
/// use tcs::{ConcurrentServer, Peer, framing::Lines, server_protocol, testing::WireTest};
///
/// #[server_protocol(framing = Lines)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # fn main() {
/// // #[test]
/// WireTest::new()
///     .exchange("Ann\n", "Hello, Ann!\n")
///     .exchange("Zoë\n", "Hello, Zoë!\n")
///     .check(|stream| ConcurrentServer::new(Greet).serve_stream(stream, Peer::unnamed()));
/// # }
/// ```
///
/// `check` takes any function that serves a stream, so it is for servers without this library as well.
#[must_use = "it does nothing until `check` is called"]
pub struct WireTest {
    greeting: Vec<u8>,
    exchanges: Vec<Exchange>,
    executed: Option<Counter>,
    counts: Vec<(&'static str, Counter)>,
    /// Whether the server must end connections whose peers do nothing.
    has_limits: bool,
}

type Counter = Box<dyn Fn() -> usize>;

struct Exchange {
    request: Vec<u8>,
    reply: Vec<u8>,
    line: &'static Location<'static>,
}

impl WireTest {
    /// Creates a list without exchanges.
    pub const fn new() -> Self {
        Self {
            greeting: Vec::new(),
            exchanges: Vec::new(),
            executed: None,
            counts: Vec::new(),
            has_limits: true,
        }
    }

    /// Sets the bytes that the server sends when a connection opens. Default: none.
    pub fn greeting(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.greeting = bytes.as_ref().to_vec();
        self
    }

    /// Adds an exchange. They are made in this order on each connection.
    #[track_caller]
    pub fn exchange(mut self, request: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) -> Self {
        self.exchanges.push(Exchange {
            request: request.as_ref().to_vec(),
            reply: reply.as_ref().to_vec(),
            line: Location::caller(),
        });
        self
    }

    /// Sets a function that returns the number of requests that the server has executed so far. Default: requests are
    /// not counted.
    pub fn executed(mut self, count: impl Fn() -> usize + 'static) -> Self {
        self.executed = Some(Box::new(count));
        self
    }

    /// Adds a number that must be the same after a connection as before, such as open sessions or buffers in use.
    pub fn count(mut self, name: &'static str, count: impl Fn() -> usize + 'static) -> Self {
        self.counts.push((name, Box::new(count)));
        self
    }

    /// Allows the server to wait forever for a peer that sends nothing more, or that does not read.
    pub const fn without_limits(mut self) -> Self {
        self.has_limits = false;
        self
    }

    /// Tries all connections with a server. `serve` is called for each of them with its own stream.
    ///
    /// # Panics
    ///
    /// Panics with the connection that has failed and the reason, and inside of a tokio runtime.
    pub fn check<F>(&self, serve: impl Fn(Pipe) -> F)
    where
        F: Future + Send + 'static,
    {
        assert!(!self.exchanges.is_empty(), "no exchange is listed");
        let max_polls = MAX_POLLS + MAX_POLLS_PER_BYTE * self.len();
        let serve: Serve<'_> = &|stream| {
            Box::pin(Bounded {
                inner: Box::pin(serve(stream)),
                max_polls,
                polls_left: max_polls,
                polled: None,
            })
        };
        let in_turn = self.in_turn("one by one");
        let at_once = self.at_once("all at once");
        let with_end = self.with_end("all at once, and the end");
        let through_one_byte = self.at_the_same_time("through a pipe of one byte");
        let pipe_len = self.pipe_len();
        let alone = self.play(serve, &in_turn, pipe_len);
        self.play(serve, &self.by_byte("byte by byte"), pipe_len);
        self.play(serve, &at_once, pipe_len);
        self.play(serve, &with_end, pipe_len);
        self.play(serve, &through_one_byte, 1);
        self.in_pieces(serve, &[in_turn, at_once, with_end]);
        self.cut_requests(serve);
        self.cut_replies(serve);
        self.without_request(serve);
        if self.has_limits {
            self.unread(serve);
        }
        self.beside(serve, alone);
    }

    /// Plays a script that makes all exchanges, through a pipe of this length. Returns how long that takes.
    fn play(&self, serve: Serve<'_>, script: &Script, pipe_len: usize) -> Duration {
        let case = Case {
            pipe_len,
            ..self.case(script.name())
        };
        self.run(serve, case, async |stream| {
            script.clone().play(stream).await;
        })
    }

    /// Tries random pieces.
    fn in_pieces(&self, serve: Serve<'_>, scripts: &[Script]) {
        let name = "in random pieces";
        for mut seed in Seed::many(SEEDS) {
            for script in scripts {
                let script = script.clone().named(name);
                self.run(serve, self.case(name), async |stream| {
                    script.play(seed.chunked(stream)).await;
                });
            }
        }
    }

    /// Cuts the connection at each byte of the requests.
    fn cut_requests(&self, serve: Serve<'_>) {
        let requests = self.requests();
        for len in 0..=requests.len() {
            let (complete, is_whole) = self.complete(len);
            let replies = self.replies(complete);
            for cut in Cut::ALL {
                let name = format!("{cut:?} after {len} bytes of the requests");
                let (script, sent) = (empty_script(&name), &requests[..len]);
                let (script, least) = match cut {
                    Cut::Close => (script.send(sent).close(), 0),
                    Cut::Reset => (script.send(sent).reset(), 0),
                    Cut::HalfClose => {
                        let script = script.send_and_shut_down(sent).receive(&replies);
                        // The answer to an incomplete request is the server's choice.
                        let script = if is_whole {
                            script.receive_eof()
                        } else {
                            script
                        };
                        (script, complete)
                    }
                    Cut::Stall => (script.send(sent).receive(&replies), complete),
                };
                let must_end = cut != Cut::Stall || self.has_limits;
                let case = Case {
                    executions: least..=complete,
                    ..self.case(&name)
                };
                self.run(serve, case, async |stream| {
                    if let Some(stream) = script.play(stream).await
                        && must_end
                    {
                        assert_closed(&name, stream).await;
                    }
                });
            }
        }
    }

    /// Closes and resets the connection at each byte of the replies.
    fn cut_replies(&self, serve: Serve<'_>) {
        let count = self.exchanges.len();
        for len in 0..=self.replies(count).len() {
            for cut in [Cut::Close, Cut::Reset] {
                let name = format!("{cut:?} after {len} bytes of the replies");
                let script = empty_script(&name).send(self.requests()).receive_any(len);
                let script = match cut {
                    Cut::Reset => script.reset(),
                    _ => script.close(),
                };
                let case = Case {
                    executions: 0..=count,
                    ..self.case(&name)
                };
                self.run(serve, case, async |stream| {
                    script.play(stream).await;
                });
            }
        }
    }

    /// Sends nothing for a while. The server may send the reason why it ends the connection, and nothing else: a peer
    /// would take a late greeting for the first reply.
    fn without_request(&self, serve: Serve<'_>) {
        let name = "a peer that says nothing";
        let case = Case {
            executions: 0..=0,
            ..self.case(name)
        };
        self.run(serve, case, async |stream| {
            let stream = self.opened(name).play(stream).await;
            let mut stream = stream.expect("the script closes nothing");
            let mut said = Vec::new();
            let first = timeout(TOLERANCE, stream.read_buf(&mut said)).await;
            if !matches!(first, Ok(Ok(1..))) {
                return;
            }
            let rest = timeout(TOLERANCE, stream.read_to_end(&mut said)).await;
            let said = said.escape_ascii();
            assert!(rest.is_ok(), "{name}: the server says `{said}` and goes on");
        });
    }

    /// Reads no reply.
    fn unread(&self, serve: Serve<'_>) {
        let name = "a peer that does not read";
        let case = Case {
            pipe_len: 1,
            executions: 0..=1,
            ..self.case(name)
        };
        self.run(serve, case, async |mut stream| {
            // A server with a greeting may not even read.
            let written = timeout(2 * LIMIT, async {
                stream.write_all(&self.exchanges[0].request).await?;
                sleep(LIMIT).await;
                stream.write_all(b"\n").await
            });
            // A connection that the server has closed takes no more bytes.
            let is_closed = matches!(written.await, Ok(Err(_)));
            assert!(
                is_closed,
                "{name}: the server waits for more than {LIMIT:?}"
            );
        });
    }

    /// Stops in the middle of a request on one connection, and uses another one, which must not take much longer than it
    /// does alone.
    fn beside(&self, serve: Serve<'_>, alone: Duration) {
        let name = "beside a connection in the middle of a request";
        let request = &self.exchanges[0].request;
        let half = empty_script(name).send(&request[..request.len() / 2]);
        self.run(serve, self.case(name), async |stream| {
            let (other, far) = pipe(self.pipe_len());
            let other_server = tokio::spawn(serve(far));
            let other = half.play(other).await;
            let script = self.in_turn(name).within(alone + TOLERANCE);
            script.play(stream).await;
            drop(other);
            assert_ended(name, other_server).await;
        });
    }

    /// Returns the case in which all requests are executed.
    fn case<'a>(&self, name: &'a str) -> Case<'a> {
        let count = self.exchanges.len();
        Case {
            name,
            pipe_len: self.pipe_len(),
            executions: count..=count,
        }
    }

    /// Opens one connection to the server, in a runtime of its own. Returns how long its peer takes.
    fn run(&self, serve: Serve<'_>, case: Case<'_>, peer: impl AsyncFnOnce(Pipe)) -> Duration {
        let Case {
            name,
            pipe_len,
            executions,
        } = case;
        let executed = || self.executed.as_ref().map_or(0, |count| count());
        let before: Vec<_> = self.counts.iter().map(|(_, count)| count()).collect();
        let executed_before = executed();
        let taken = paused_runtime().block_on(async {
            let (near, far) = pipe(pipe_len);
            let server = tokio::spawn(serve(far));
            let begun = Instant::now();
            peer(near).await;
            let taken = begun.elapsed();
            assert_ended(name, server).await;
            // Tasks that the server has spawned end when they run next.
            sleep(LIMIT).await;
            let tasks = Handle::current().metrics().num_alive_tasks();
            assert_eq!(tasks, 0, "{name}: tasks are left over");
            taken
        });
        for ((count_name, count), before) in self.counts.iter().zip(before) {
            let now = count();
            assert_eq!(now, before, "{name}: {count_name} after the connection");
        }
        if self.executed.is_some() {
            let executed = executed() - executed_before;
            assert!(
                executions.contains(&executed),
                "{name}: {executed} requests were executed instead of {executions:?}"
            );
        }
        taken
    }

    /// Sends each request when the previous one is answered.
    fn in_turn(&self, name: &str) -> Script {
        self.script(name, |script, exchange| {
            let script = script.at(exchange.line).send(&exchange.request);
            script.at(exchange.line).receive(&exchange.reply)
        })
    }

    /// Receives each reply while its request is sent.
    fn at_the_same_time(&self, name: &str) -> Script {
        self.script(name, |script, exchange| {
            let script = script.at(exchange.line);
            script.send_and_receive(&exchange.request, &exchange.reply)
        })
    }

    fn by_byte(&self, name: &str) -> Script {
        self.script(name, |script, exchange| {
            let script = script.at(exchange.line).send_bytewise(&exchange.request);
            script.at(exchange.line).receive(&exchange.reply)
        })
    }

    fn at_once(&self, name: &str) -> Script {
        let script = empty_script(name).send(self.requests());
        let script = script.receive(&self.greeting);
        let script = self.exchanges.iter().fold(script, |script, exchange| {
            script.at(exchange.line).receive(&exchange.reply)
        });
        script.shut_down().receive_eof()
    }

    /// Sends the end of the sending half together with all requests.
    fn with_end(&self, name: &str) -> Script {
        let script = empty_script(name).send_and_shut_down(&self.requests());
        script
            .receive(self.replies(self.exchanges.len()))
            .receive_eof()
    }

    /// Makes each exchange in one way, and ends.
    fn script(&self, name: &str, step: impl Fn(Script, &Exchange) -> Script) -> Script {
        let script = self.exchanges.iter().fold(self.opened(name), step);
        script.shut_down().receive_eof()
    }

    /// Receives the greeting.
    fn opened(&self, name: &str) -> Script {
        let script = empty_script(name);
        if self.greeting.is_empty() {
            script
        } else {
            script.receive(&self.greeting)
        }
    }

    /// Returns the number of bytes of a connection.
    fn len(&self) -> usize {
        self.requests().len() + self.replies(self.exchanges.len()).len()
    }

    /// Returns the length of a pipe that has room for all bytes of a connection, so that no end must read before it
    /// writes.
    fn pipe_len(&self) -> usize {
        PIPE_LEN.max(self.len())
    }

    /// Returns all requests.
    fn requests(&self) -> Vec<u8> {
        let requests = self.exchanges.iter().flat_map(|it| &it.request);
        requests.copied().collect()
    }

    /// Returns the greeting and the replies to the first requests.
    fn replies(&self, count: usize) -> Vec<u8> {
        let replies = self.exchanges.iter().take(count);
        let replies = replies.flat_map(|it| &it.reply);
        self.greeting.iter().chain(replies).copied().collect()
    }

    /// Returns how many requests are complete in the first `len` bytes, and whether these are all of the bytes.
    fn complete(&self, len: usize) -> (usize, bool) {
        let ends = self.exchanges.iter().scan(0, |end, exchange| {
            *end += exchange.request.len();
            Some(*end)
        });
        let ends: Vec<_> = ends.take_while(|end| *end <= len).collect();
        (ends.len(), ends.last().copied().unwrap_or_default() == len)
    }
}

impl Default for WireTest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WireTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireTest")
            .field("exchanges", &self.exchanges.len())
            .finish_non_exhaustive()
    }
}

/// A connection, and the result that the server must have.
struct Case<'a> {
    /// The name before each message.
    name: &'a str,
    pipe_len: usize,
    /// The number of requests that are executed.
    executions: RangeInclusive<usize>,
}

/// Serves a connection.
type Serve<'a> = &'a dyn Fn(Pipe) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Creates a script without steps. Each may take as long as a server may wait.
fn empty_script(name: &str) -> Script {
    Script::new().within(LIMIT).named(name)
}

/// Waits until the server has ended.
async fn assert_ended(name: &str, server: JoinHandle<()>) {
    let Ok(result) = timeout(LIMIT, server).await else {
        panic!("{name}: the server has not ended within {LIMIT:?}");
    };
    if let Err(error) = result {
        let text = panic_text(error.into_panic());
        panic!("{name}: the server has panicked: {text}");
    }
}

/// Waits until the server ends the connection, as a reset or not.
async fn assert_closed(name: &str, mut stream: Pipe) {
    let mut rest = Vec::new();
    let closed = timeout(LIMIT, stream.read_to_end(&mut rest)).await;
    assert!(
        closed.is_ok(),
        "{name}: the server has not closed within {LIMIT:?}"
    );
}

/// A server that is polled a limited number of times at each time.
struct Bounded<F> {
    inner: Pin<Box<F>>,
    max_polls: usize,
    polls_left: usize,
    /// The time of the last poll.
    polled: Option<Instant>,
}

impl<F: Future> Future for Bounded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Some(Instant::now());
        if self.polled != now {
            self.polled = now;
            self.polls_left = self.max_polls;
        }
        assert!(self.polls_left > 0, "the server does not wait");
        self.polls_left -= 1;
        self.inner.as_mut().poll(cx).map(drop)
    }
}
