//! `tcs proxy`: passes bytes between a client and a server.
//!
//! `pump.rs` passes on the bytes of a direction, with the faults of `fault.rs`, and `show.rs` prints them.

mod fault;
mod pump;
mod show;

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tcs::transport::Stream;
use tokio::{
    io::{AsyncWriteExt as _, split},
    signal, time,
};

use self::{
    fault::{Directed, Direction, Faults, Random},
    pump::{End, pump},
    show::{Show, Style},
};
use crate::{
    failure::Failure,
    framing::FramingSpec,
    options::{HelpFlags, bytes, duration},
    output::print,
    payload::MessageOptions,
    socket::{Listener, Socket, cannot_accept},
    target::{Connector, Target},
};

const DIRECTIONS: &str = "\
The TIME and BYTES of a fault are for both directions; those after `up:` are for
what the client sends, and those after `down:` for what the server sends.";

/// What `--help-all` says after it.
const EXAMPLES: &str = "\
Examples:
  tcs proxy localhost:4321 localhost:1234 --framing lines
  tcs proxy localhost:4321 localhost:1234 --delay 50ms --jitter 20ms --seed 7
  tcs proxy localhost:4321 localhost:1234 --cut-after down:100 --reset";

/// Pass on what a client and a server send, print it, and add faults
#[derive(Debug, clap::Args)]
#[command(after_help = DIRECTIONS, after_long_help = format!("{DIRECTIONS}\n\n{EXAMPLES}"), disable_help_flag = true)]
pub(crate) struct Args {
    /// Where clients connect: HOST:PORT or unix:PATH
    listen: String,
    #[command(flatten)]
    upstream: Target,
    #[command(flatten)]
    messages: MessageOptions,
    /// Print whole messages, not only what fits a line
    #[arg(long, help_heading = "Messages")]
    full: bool,
    /// Print nothing about connections
    #[arg(short, long, help_heading = "Messages")]
    quiet: bool,
    #[command(flatten)]
    faults: FaultOptions,
    #[command(flatten)]
    help: HelpFlags,
}

/// What is done to the bytes that pass.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
struct FaultOptions {
    /// Delay all bytes by TIME
    #[arg(long, value_name = "TIME", value_parser = |text: &str| Directed::parse(text, duration))]
    delay: Vec<Directed<Duration>>,
    /// Delay them by up to TIME more, at random
    #[arg(long, value_name = "TIME", value_parser = duration)]
    jitter: Option<Duration>,
    /// Repeat the random times of an earlier run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Close each connection after BYTES
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| Directed::parse(text, bytes))]
    cut_after: Vec<Directed<u64>>,
    /// Reset the connection instead
    #[arg(long, requires = "cut_after")]
    reset: bool,
    /// Pass nothing on after BYTES
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| Directed::parse(text, bytes))]
    stall_after: Vec<Directed<u64>>,
    /// Pass on BYTES per second
    #[arg(long, value_name = "BYTES", value_parser = |text: &str| Directed::parse(text, bytes))]
    bandwidth: Vec<Directed<u64>>,
}

impl FaultOptions {
    /// Returns what is done to the bytes of one direction.
    fn of(&self, direction: Direction) -> Faults {
        Faults {
            delay: Directed::of(&self.delay, direction).unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            cut_after: Directed::of(&self.cut_after, direction),
            stall_after: Directed::of(&self.stall_after, direction),
            bandwidth: Directed::of(&self.bandwidth, direction),
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    // Only from its first poll on, a signal does not end the process.
    tokio::select! {
        biased;
        _ = signal::ctrl_c() => Ok(()),
        done = async { Proxy::new(args)?.run().await } => done,
    }
}

/// What all connections share.
#[derive(Debug)]
struct Proxy {
    listen: String,
    upstream: Connector,
    framing: FramingSpec,
    style: Arc<Style>,
    up: Faults,
    down: Faults,
    seed: u64,
    must_reset: bool,
}

/// How long an end may take to close after a cut.
const LINGER: Duration = Duration::from_secs(2);

impl Proxy {
    fn new(args: Args) -> Result<Self, Failure> {
        let faults = args.faults;
        Ok(Self {
            up: faults.of(Direction::Up),
            down: faults.of(Direction::Down),
            listen: args.listen,
            upstream: args.upstream.prepare()?,
            framing: args.messages.framing,
            style: Arc::new(Style {
                start: Instant::now(),
                view: args.messages.view,
                is_full: args.full,
                is_quiet: args.quiet,
            }),
            // It is short, because people write it.
            seed: faults.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            must_reset: faults.reset,
        })
    }

    async fn run(self) -> Result<(), Failure> {
        let (listener, address) = Listener::bind(&self.listen).await?;
        let upstream = &self.upstream.address;
        let line = format!("listening on {address} for {upstream}; Ctrl-C ends it\n");
        print(&[line.as_bytes()])?;
        if self.up.jitter > Duration::ZERO {
            let line = format!("--seed {} repeats the jitter\n", self.seed);
            print(&[line.as_bytes()])?;
        }
        let proxy = Arc::new(self);
        let mut connection = 0;
        loop {
            match listener.accept().await {
                Ok(client) => {
                    connection += 1;
                    tokio::spawn(Arc::clone(&proxy).connection(connection, client));
                }
                // Without descriptors, the next attempt would fail at once.
                Err(error) => {
                    cannot_accept(&error).report();
                    time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, number: u64, client: Socket) {
        let peer = client.peer_addr();
        let peer = peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        self.style.line(number, &format!("connected {peer}"));
        match self.upstream.connect_socket().await {
            Ok(server) => match client.into_stream() {
                Ok(client) => self.exchange(number, client, server).await,
                Err(error) => self.style.line(number, &format!("broken: {error}")),
            },
            Err(failure) => {
                self.style.line(number, &failure.message);
                if let Some(hint) = failure.hint {
                    self.style.line(number, &hint);
                }
                // The client sees what it would see without the proxy, as near as that can be.
                let _gone = client.reset_on_close();
            }
        }
    }

    async fn exchange(
        &self,
        number: u64,
        (mut client, client_socket): (Stream, Socket),
        (mut server, server_socket): (Stream, Socket),
    ) {
        match self.pass(number, &mut client, &mut server).await {
            End::HalfClosed | End::Stalled => {}
            End::Cut if !self.must_reset => {
                let closed = async { tokio::join!(close(client), close(server)) };
                let _late = time::timeout(LINGER, closed).await;
            }
            End::Cut => reset(&client_socket, &server_socket).await,
            End::Broken(error) | End::Unread(error) => {
                self.style.line(number, &format!("broken: {error}"));
                reset(&client_socket, &server_socket).await;
            }
        }
        self.style.line(number, "closed");
    }

    /// Passes on the bytes of both directions. Returns how the later one has ended, or what has ended both.
    async fn pass(&self, number: u64, client: &mut Stream, server: &mut Stream) -> End {
        let (from_client, to_client) = split(client);
        let (from_server, to_server) = split(server);
        let is_reset = AtomicBool::new(false);
        let pumped = |from, to, faults, direction| {
            let random = Random::new(self.seed, number, direction);
            let show = Show::new(Arc::clone(&self.style), &self.framing, number, direction);
            pump(from, to, faults, &is_reset, random, show)
        };
        let mut up = pin!(pumped(from_client, to_server, &self.up, Direction::Up));
        let mut down = pin!(pumped(from_server, to_client, &self.down, Direction::Down));
        let (first, is_up) = tokio::select! {
            end = &mut up => (end, true),
            end = &mut down => (end, false),
        };
        if let End::Cut | End::Broken(_) = first {
            return first;
        }
        // A receiver that is gone may have said something before: that is passed on as well.
        let second = if is_up { down.await } else { up.await };
        match (first, second) {
            (unread @ End::Unread(_), End::HalfClosed | End::Stalled) => unread,
            (_, second) => second,
        }
    }
}

/// Makes the end of both connections a reset, after what was passed on: a reset drops what the system has not sent yet.
async fn reset(client: &Socket, server: &Socket) {
    let sent = async { tokio::join!(client.sent(), server.sent()) };
    let _late = time::timeout(LINGER, sent).await;
    for socket in [client, server] {
        let _gone = socket.reset_on_close();
    }
}

/// Closes the sending half, and reads on until the other end closes: with unread bytes the connection would be reset,
/// and the other end could lose what was passed on before.
async fn close(mut socket: Stream) {
    let _gone = socket.shutdown().await;
    let _gone = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
}
