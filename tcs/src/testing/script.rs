//! A peer that performs a list of steps.

use std::{any::type_name, fmt, io, net::SocketAddr, panic::Location, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::{sleep, timeout},
    try_join,
};

use super::{
    pipe::{Pipe, pipe, reset},
    task::Task,
};

/// The time in which a step must end, unless the script sets another.
const LIMIT: Duration = Duration::from_secs(20);
/// The number of bytes that one end of a pipe can send before the other reads.
const PIPE_LEN: usize = 64 << 10;

/// A peer of raw bytes, for tests of servers and of clients: a list of steps.
///
/// A step that fails panics with the line of the step in the test, with the expected and the received bytes, and with
/// the place of the first byte that differs. A step that takes longer than 20 s has failed: see
/// [`within`](Self::within).
///
/// # Examples
///
/// A server is tested by a peer that plays a client:
///
/// ```
/// use tcs::{framing::CrlfText, server_protocol, testing::{Script, serve}};
///
/// #[server_protocol(framing = CrlfText, greeting = "220 ready")]
/// fn smtp(line: &str) -> &'static str {
///     if line == "NOOP" { "250 ok" } else { "500 unknown" }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = serve(Smtp).await;
/// Script::new()
///     .receive("220 ready\r\n")
///     .send_bytewise("NOOP\r\n")
///     .receive("250 ok\r\n")
///     .send("JUMP\r\nNOOP\r\n")
///     .shut_down()
///     .receive("500 unknown\r\n250 ok\r\n")
///     .receive_eof()
///     .play(server.stream())
///     .await;
/// assert_eq!(server.finish().await.requests.served, 3);
/// # }
/// ```
///
/// A client is tested by a peer that plays a server, at the other end of a pipe ([`connect`](Self::connect)) or over TCP
/// ([`listen`](Self::listen)):
///
/// ```
/// use tcs::{Connection, framing::Lines, server_protocol, testing::Script};
///
/// #[server_protocol(framing = Lines)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let (stream, server) = Script::new().receive("Ann\n").send("Hi!\n").receive("Bob\n").close().connect();
/// let mut connection = Connection::over(stream);
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hi!");
/// let error = connection.call::<Greet>("Bob").await.expect_err("no reply");
/// assert_eq!(error.kind(), tcs::ErrorKind::Closed);
/// server.finish().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a script does nothing until it is played"]
pub struct Script {
    steps: Vec<(Step, &'static Location<'static>)>,
    limit: Duration,
    /// The name before each message.
    name: String,
    /// The line of the next step, if it is not the line of its call.
    line: Option<&'static Location<'static>>,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    SendBytewise(Vec<u8>),
    SendAndShutDown(Vec<u8>),
    /// The bytes to send, and the bytes to receive at the same time.
    SendAndReceive(Vec<u8>, Vec<u8>),
    Receive(Vec<u8>),
    ReceiveAny(usize),
    ReceiveEof,
    Pause(Duration),
    ShutDown,
    Close,
    Reset,
}

impl Script {
    /// Creates a script without steps.
    pub const fn new() -> Self {
        Self {
            steps: Vec::new(),
            limit: LIMIT,
            name: String::new(),
            line: None,
        }
    }

    /// Sets how long each step may take. Default: 20 s.
    ///
    /// With a paused clock, set a longer time to wait for a longer limit of a server.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends these bytes in one write.
    #[track_caller]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends each of these bytes in a write of its own, and lets the other tasks of the thread run in between.
    #[track_caller]
    pub fn send_bytewise(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::SendBytewise(bytes.as_ref().to_vec()))
    }

    /// Fails unless these bytes come next.
    #[track_caller]
    pub fn receive(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Receive(bytes.as_ref().to_vec()))
    }

    /// Receives this number of bytes, whatever they are. Fails if fewer come before the end.
    #[track_caller]
    pub fn receive_any(self, len: usize) -> Self {
        self.step(Step::ReceiveAny(len))
    }

    /// Fails unless the other end closes its sending half next.
    #[track_caller]
    pub fn receive_eof(self) -> Self {
        self.step(Step::ReceiveEof)
    }

    /// Neither sends nor receives for this time.
    ///
    /// To stall forever, end the script: the connection stays open until the stream or the [`Player`] is dropped.
    #[track_caller]
    pub fn pause(self, time: Duration) -> Self {
        self.step(Step::Pause(time))
    }

    /// Closes the sending half. Later steps can still receive.
    #[track_caller]
    pub fn shut_down(self) -> Self {
        self.step(Step::ShutDown)
    }

    /// Closes the connection. A step after this one fails.
    #[track_caller]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection, which is a [`Pipe`] or a [`TcpStream`], also in a [`FaultyStream`](super::FaultyStream).
    /// It fails with any other stream. A step after this one fails.
    #[track_caller]
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Sends these bytes and closes the sending half, so that both arrive together.
    #[track_caller]
    pub(super) fn send_and_shut_down(self, bytes: &[u8]) -> Self {
        self.step(Step::SendAndShutDown(bytes.to_vec()))
    }

    /// Sends bytes, and fails unless the expected bytes come meanwhile or next.
    #[track_caller]
    pub(super) fn send_and_receive(self, sent: &[u8], received: &[u8]) -> Self {
        self.step(Step::SendAndReceive(sent.to_vec(), received.to_vec()))
    }

    /// Sets the line of the next step.
    pub(super) const fn at(mut self, line: &'static Location<'static>) -> Self {
        self.line = Some(line);
        self
    }

    /// Sets the name before each message.
    pub(super) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    #[track_caller]
    fn step(mut self, step: Step) -> Self {
        let line = self.line.take().unwrap_or(Location::caller());
        self.steps.push((step, line));
        self
    }

    /// Performs the steps. Returns the stream, unless the last step has closed it.
    ///
    /// # Panics
    ///
    /// Panics if a step fails.
    pub async fn play<S>(self, stream: S) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let mut stream = Some(stream);
        for (number, (step, line)) in self.steps.into_iter().enumerate() {
            let place = Place {
                name: &self.name,
                number: number + 1,
                line,
            };
            let Some(open) = &mut stream else {
                place.fails("no step can follow the end");
            };
            match step {
                Step::Close => stream = None,
                Step::Reset => {
                    reset(open, type_name::<S>());
                    stream = None;
                }
                Step::Pause(time) => sleep(time).await,
                step => {
                    let mut received = Vec::new();
                    let done = timeout(self.limit, step.run(open, &mut received)).await;
                    match done {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => place.fails(&format!(
                            "{error}\n{}",
                            step.expected_and_received(&received)
                        )),
                        Err(_) => {
                            let limit = self.limit;
                            place.fails(&format!(
                                "it took {limit:?}\n{}",
                                step.expected_and_received(&received)
                            ));
                        }
                    }
                }
            }
        }
        stream
    }

    /// Plays at one end of a pipe, in a task of its own. Returns the other end.
    pub fn connect(self) -> (Pipe, Player) {
        let (near, far) = pipe(PIPE_LEN);
        (near, self.over(far))
    }

    /// Plays over a stream, in a task of its own.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn over<S>(self, stream: S) -> Player<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Player(Task::spawn(self.play(stream)))
    }

    /// Listens on a free port of 127.0.0.1, and plays with the first client that connects.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    pub async fn listen(self) -> (SocketAddr, Player<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let task = Task::spawn(async move {
            let accepted = timeout(self.limit, listener.accept()).await;
            let (stream, _) = accepted
                .expect("no client has connected")
                .expect("it listens");
            stream.set_nodelay(true).ok();
            self.play(stream).await
        });
        (addr, Player(task))
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

/// Joins scripts: each continues after the end of the previous one, with the limit of the first.
impl FromIterator<Self> for Script {
    fn from_iter<T: IntoIterator<Item = Self>>(scripts: T) -> Self {
        let mut scripts = scripts.into_iter();
        let mut joined = scripts.next().unwrap_or_default();
        joined.steps.extend(scripts.flat_map(|script| script.steps));
        joined
    }
}

/// A [`Script`] that is played in a task of its own.
///
/// Dropping a player panics if a step has failed.
#[must_use = "a step that fails is seen by `finish`"]
pub struct Player<S = Pipe>(Task<Option<S>>);

impl<S> Player<S> {
    /// Waits for the last step, and closes the connection.
    ///
    /// # Panics
    ///
    /// Panics if a step has failed, with the same text.
    pub async fn finish(self) {
        drop(self.end().await);
    }

    /// Waits for the last step, and returns the stream.
    ///
    /// # Panics
    ///
    /// Panics if a step has failed, or has closed the connection.
    pub async fn stream(self) -> S {
        self.end().await.expect("the script closes the connection")
    }

    async fn end(self) -> Option<S> {
        self.0.end().await
    }
}

impl<S> fmt::Debug for Player<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").finish_non_exhaustive()
    }
}

/// A step of a script, for messages.
struct Place<'a> {
    name: &'a str,
    number: usize,
    line: &'static Location<'static>,
}

impl Place<'_> {
    fn fails(&self, why: &str) -> ! {
        let Self { name, number, line } = self;
        let separator = if name.is_empty() { "" } else { ": " };
        panic!("{name}{separator}step {number} of the script, at {line}: {why}")
    }
}

impl Step {
    /// Performs this step. Adds the bytes that come to `received`.
    async fn run<S>(&self, stream: &mut S, received: &mut Vec<u8>) -> Result<(), StepFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Self::Send(bytes) => send(stream, bytes).await?,
            Self::SendBytewise(bytes) => {
                for byte in bytes.chunks(1) {
                    send(stream, byte).await?;
                }
            }
            Self::SendAndShutDown(bytes) => {
                stream.write_all(bytes).await?;
                stream.shutdown().await?;
            }
            Self::SendAndReceive(out, bytes) => {
                let (mut reading, mut writing) = split(stream);
                let sending = async { Ok(send(&mut writing, out).await?) };
                let receiving = receive(&mut reading, bytes.len(), received, |it| {
                    bytes.starts_with(it)
                });
                try_join!(sending, receiving)?;
            }
            Self::Receive(bytes) => {
                receive(stream, bytes.len(), received, |it| bytes.starts_with(it)).await?;
            }
            Self::ReceiveAny(len) => receive(stream, *len, received, |_| true).await?,
            Self::ReceiveEof => {
                if stream.read_buf(received).await? > 0 {
                    return Err(StepFailure::Unexpected);
                }
            }
            Self::ShutDown => stream.shutdown().await?,
            Self::Pause(_) | Self::Close | Self::Reset => {}
        }
        Ok(())
    }

    /// Returns a text with the expected and the received bytes.
    fn expected_and_received(&self, received: &[u8]) -> String {
        let expected = match self {
            Self::Send(bytes) | Self::SendBytewise(bytes) | Self::SendAndShutDown(bytes) => {
                return format!("to send: `{}`", bytes.escape_ascii());
            }
            Self::Receive(bytes) | Self::SendAndReceive(_, bytes) => {
                format!("`{}`", bytes.escape_ascii())
            }
            Self::ReceiveAny(len) => format!("{len} bytes"),
            Self::ReceiveEof => "the end".to_owned(),
            Self::Pause(_) | Self::ShutDown | Self::Close | Self::Reset => return String::new(),
        };
        let text = format!(
            "expected: {expected}\nreceived: `{}`",
            received.escape_ascii()
        );
        let (Self::Receive(bytes) | Self::SendAndReceive(_, bytes)) = self else {
            return text;
        };
        let same = bytes.iter().zip(received).take_while(|(a, b)| a == b);
        let (same, len) = (same.count(), bytes.len());
        format!("{text}\nthe first {same} of {len} bytes are as expected")
    }
}

/// The reason why a step has failed.
enum StepFailure {
    Ended,
    Unexpected,
    Io(io::Error),
}

impl From<io::Error> for StepFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the connection has ended"),
            Self::Unexpected => f.write_str("something else has come"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    // The other end, in the same thread, reads the bytes before the next step.
    yield_now().await;
    Ok(())
}

/// Receives exactly `len` bytes, as long as they are `expected`.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    len: usize,
    received: &mut Vec<u8>,
    expected: impl Fn(&[u8]) -> bool,
) -> Result<(), StepFailure> {
    while received.len() < len {
        let left = (len - received.len()) as u64;
        if stream.take(left).read_buf(received).await? == 0 {
            return Err(StepFailure::Ended);
        }
        if !expected(received) {
            return Err(StepFailure::Unexpected);
        }
    }
    Ok(())
}
