//! A peer that goes through a list of steps.

use std::{fmt, io, net::SocketAddr, panic::Location, time::Duration};

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

/// How long a step may take, unless the script says otherwise.
const LIMIT: Duration = Duration::from_secs(20);
/// The number of bytes that one end of a pipe can send before the other reads.
const PIPE_LEN: usize = 64 << 10;

/// A peer of raw bytes, for tests of servers and of clients: the steps that it goes through.
///
/// A step that fails panics with the line of the test that has the step, with what was expected and what came, and with
/// the place of the first byte that differs. A step that takes longer than 20 s has failed: see [`within`](Self::within).
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
///     .hears("220 ready\r\n")
///     .says_by_byte("NOOP\r\n")
///     .hears("250 ok\r\n")
///     .says("JUMP\r\nNOOP\r\n")
///     .ends()
///     .hears("500 unknown\r\n250 ok\r\n")
///     .hears_end()
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
/// let (stream, server) = Script::new().hears("Ann\n").says("Hi!\n").hears("Bob\n").closes().connect();
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
    /// What is before each message.
    name: String,
    /// The line of the next step, if it is not that of its call.
    line: Option<&'static Location<'static>>,
}

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<u8>),
    SayByByte(Vec<u8>),
    SayAndEnd(Vec<u8>),
    /// The bytes that it says and those that it hears at the same time.
    SayAndHear(Vec<u8>, Vec<u8>),
    Hear(Vec<u8>),
    HearAny(usize),
    HearEnd,
    Stall(Duration),
    End,
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
    /// With a paused clock, set more to wait for a limit of a server that is longer.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends these bytes in one write.
    #[track_caller]
    pub fn says(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Say(bytes.as_ref().to_vec()))
    }

    /// Sends each of these bytes in a write of its own, and lets the other tasks of the thread run in between.
    #[track_caller]
    pub fn says_by_byte(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::SayByByte(bytes.as_ref().to_vec()))
    }

    /// Fails unless these bytes come next.
    #[track_caller]
    pub fn hears(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Hear(bytes.as_ref().to_vec()))
    }

    /// Receives this number of bytes, whatever they are. Fails if fewer come before the end.
    #[track_caller]
    pub fn hears_any(self, len: usize) -> Self {
        self.step(Step::HearAny(len))
    }

    /// Fails unless the other end closes its sending half next.
    #[track_caller]
    pub fn hears_end(self) -> Self {
        self.step(Step::HearEnd)
    }

    /// Neither sends nor receives for this time.
    ///
    /// To stall for ever, end the script: the connection stays open until the stream or the [`Player`] is dropped.
    #[track_caller]
    pub fn stalls(self, time: Duration) -> Self {
        self.step(Step::Stall(time))
    }

    /// Closes the sending half. What comes is still received.
    #[track_caller]
    pub fn ends(self) -> Self {
        self.step(Step::End)
    }

    /// Closes the connection. It is the last step.
    #[track_caller]
    pub fn closes(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection, which is a [`Pipe`] or a [`TcpStream`], also in a [`FaultyStream`](super::FaultyStream). It is
    /// the last step. With any other stream, it fails.
    #[track_caller]
    pub fn resets(self) -> Self {
        self.step(Step::Reset)
    }

    /// Sends these bytes and closes the sending half, so that both come together.
    #[track_caller]
    pub(super) fn says_and_ends(self, bytes: &[u8]) -> Self {
        self.step(Step::SayAndEnd(bytes.to_vec()))
    }

    /// Sends bytes, and fails unless others come meanwhile or next.
    #[track_caller]
    pub(super) fn says_and_hears(self, said: &[u8], heard: &[u8]) -> Self {
        self.step(Step::SayAndHear(said.to_vec(), heard.to_vec()))
    }

    /// Sets the line of the next step.
    pub(super) const fn at(mut self, line: &'static Location<'static>) -> Self {
        self.line = Some(line);
        self
    }

    /// Sets the name that messages have.
    pub(super) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    #[track_caller]
    fn step(mut self, step: Step) -> Self {
        let line = self.line.take().unwrap_or(Location::caller());
        self.steps.push((step, line));
        self
    }

    /// Goes through the steps. Returns the stream, unless the last step has closed it.
    ///
    /// # Panics
    ///
    /// Panics if a step fails.
    pub async fn play<S>(self, mut stream: S) -> Option<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        for (number, (step, line)) in self.steps.into_iter().enumerate() {
            let place = Place {
                name: &self.name,
                number: number + 1,
                line,
            };
            match step {
                Step::Close => return None,
                Step::Reset => {
                    reset(stream);
                    return None;
                }
                Step::Stall(time) => sleep(time).await,
                step => {
                    let mut heard = Vec::new();
                    let done = timeout(self.limit, step.run(&mut stream, &mut heard)).await;
                    match done {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => place.fails(&format!("{error}\n{}", step.told(&heard))),
                        Err(_) => {
                            let limit = self.limit;
                            place.fails(&format!("it took {limit:?}\n{}", step.told(&heard)));
                        }
                    }
                }
            }
        }
        Some(stream)
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

    /// Listens at a free port of 127.0.0.1, and plays with the first client that connects.
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

/// Joins scripts: each goes on where the one before has ended, with the limit of the first.
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
/// Dropping it panics if a step has failed.
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
    /// Does this. What comes is added to `heard`.
    async fn run<S>(&self, stream: &mut S, heard: &mut Vec<u8>) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Self::Say(bytes) => say(stream, bytes).await?,
            Self::SayByByte(bytes) => {
                for byte in bytes.chunks(1) {
                    say(stream, byte).await?;
                }
            }
            Self::SayAndEnd(bytes) => {
                stream.write_all(bytes).await?;
                stream.shutdown().await?;
            }
            Self::SayAndHear(said, bytes) => {
                let (mut reading, mut writing) = split(stream);
                let say = async { Ok(say(&mut writing, said).await?) };
                let hear = hear(&mut reading, bytes.len(), heard, |it| bytes.starts_with(it));
                try_join!(say, hear)?;
            }
            Self::Hear(bytes) => {
                hear(stream, bytes.len(), heard, |it| bytes.starts_with(it)).await?;
            }
            Self::HearAny(len) => hear(stream, *len, heard, |_| true).await?,
            Self::HearEnd => {
                if stream.read_buf(heard).await? > 0 {
                    return Err(Failure::Other);
                }
            }
            Self::End => stream.shutdown().await?,
            Self::Stall(_) | Self::Close | Self::Reset => {}
        }
        Ok(())
    }

    /// Returns what was expected, beside what came.
    fn told(&self, heard: &[u8]) -> String {
        let expected = match self {
            Self::Say(bytes) | Self::SayByByte(bytes) | Self::SayAndEnd(bytes) => {
                return format!("to say: `{}`", bytes.escape_ascii());
            }
            Self::Hear(bytes) | Self::SayAndHear(_, bytes) => format!("`{}`", bytes.escape_ascii()),
            Self::HearAny(len) => format!("{len} bytes"),
            Self::HearEnd => "the end".to_owned(),
            Self::Stall(_) | Self::End | Self::Close | Self::Reset => return String::new(),
        };
        let text = format!("expected: {expected}\n   heard: `{}`", heard.escape_ascii());
        let (Self::Hear(bytes) | Self::SayAndHear(_, bytes)) = self else {
            return text;
        };
        let same = bytes.iter().zip(heard).take_while(|(a, b)| a == b);
        let (same, len) = (same.count(), bytes.len());
        format!("{text}\nthe first {same} of {len} bytes are as expected")
    }
}

/// Why a step has failed.
enum Failure {
    Ended,
    Other,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the connection has ended"),
            Self::Other => f.write_str("something else has come"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    // The other end, in the same thread, reads it before the next step.
    yield_now().await;
    Ok(())
}

/// Receives exactly `len` bytes, as long as they are `expected`.
async fn hear<S: AsyncRead + Unpin>(
    stream: &mut S,
    len: usize,
    heard: &mut Vec<u8>,
    expected: impl Fn(&[u8]) -> bool,
) -> Result<(), Failure> {
    while heard.len() < len {
        let left = (len - heard.len()) as u64;
        if stream.take(left).read_buf(heard).await? == 0 {
            return Err(Failure::Ended);
        }
        if !expected(heard) {
            return Err(Failure::Other);
        }
    }
    Ok(())
}
