//! `tcs proxy`: passes bytes between a client and a server.
//!
//! `pump.rs` passes on the bytes of a direction, with the faults of `fault.rs`, and `show.rs` prints them.

mod fault;
mod pump;
mod show;

use std::{
    pin::pin,
    process::ExitCode,
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
    help::HelpFlags,
    output::{print, report},
    payload::View,
    runtime::run_on_threads,
    socket::{Listener, Socket, cannot_accept},
    target::{Connector, Target},
    values::duration,
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

/// Stand between a client and a server, and print what they say
#[derive(Debug, clap::Args)]
#[command(after_help = DIRECTIONS, after_long_help = format!("{DIRECTIONS}\n\n{EXAMPLES}"), disable_help_flag = true)]
pub(crate) struct Args {
    /// Where clients connect: HOST:PORT or unix:PATH
    listen: String,
    #[command(flatten)]
    upstream: Target,
    /// Framing, such as lines [default: length-prefixed]
    #[arg(short, long, value_name = "NAME", default_value_t, hide_default_value = true, help_heading = "Messages",
        long_help = crate::framing::LONG_HELP)]
    framing: FramingSpec,
    #[command(flatten)]
    view: View,
    /// Print whole messages, not only what fits a line
    #[arg(long, help_heading = "Messages")]
    full: bool,
    /// Print nothing about connections
    #[arg(short, long, help_heading = "Messages")]
    quiet: bool,
    /// Delay all bytes by TIME
    #[arg(long, value_name = "TIME", help_heading = "Faults")]
    delay: Vec<Directed<Duration>>,
    /// Delay them by up to TIME more, at random
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Faults")]
    jitter: Option<Duration>,
    /// Repeat the random times of an earlier run
    #[arg(long, value_name = "N", help_heading = "Faults")]
    seed: Option<u64>,
    /// Close each connection after BYTES
    #[arg(long, value_name = "BYTES", help_heading = "Faults")]
    cut_after: Vec<Directed<u64>>,
    /// Reset the connection instead
    #[arg(long, requires = "cut_after", help_heading = "Faults")]
    reset: bool,
    /// Pass nothing on after BYTES
    #[arg(long, value_name = "BYTES", help_heading = "Faults")]
    stall_after: Vec<Directed<u64>>,
    /// Pass on BYTES per second
    #[arg(long, value_name = "BYTES", help_heading = "Faults")]
    rate: Vec<Directed<u64>>,
    #[command(flatten)]
    help: HelpFlags,
}

pub(crate) fn run(args: Args) -> ExitCode {
    report(run_on_threads(async {
        // Only from its first poll on, a signal does not end the process.
        tokio::select! {
            biased;
            _ = signal::ctrl_c() => Ok(()),
            done = async { Proxy::new(args)?.run().await } => done,
        }
    }))
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
        let faults = |direction| Faults {
            delay: Directed::of(&args.delay, direction).unwrap_or_default(),
            jitter: args.jitter.unwrap_or_default(),
            cut_after: Directed::of(&args.cut_after, direction),
            stall_after: Directed::of(&args.stall_after, direction),
            rate: Directed::of(&args.rate, direction),
        };
        let (up, down) = (faults(Direction::Up), faults(Direction::Down));
        Ok(Self {
            up,
            down,
            listen: args.listen,
            upstream: args.upstream.prepare()?,
            framing: args.framing,
            style: Arc::new(Style {
                start: Instant::now(),
                view: args.view,
                is_full: args.full,
                is_quiet: args.quiet,
            }),
            // It is short, because people write it.
            seed: args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            must_reset: args.reset,
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
        let reset = async || {
            // A reset drops what the system has not sent yet, and that came before it.
            let sent = async { tokio::join!(client_socket.sent(), server_socket.sent()) };
            let _late = time::timeout(LINGER, sent).await;
            for socket in [&client_socket, &server_socket] {
                let _gone = socket.reset_on_close();
            }
        };
        let show = |direction| Show::new(Arc::clone(&self.style), &self.framing, number, direction);
        let random = |direction| Random::new(self.seed, number, direction);
        let end = {
            let (from_client, to_client) = split(&mut client);
            let (from_server, to_server) = split(&mut server);
            let is_reset = AtomicBool::new(false);
            let pumped = |from, to, faults, direction| {
                pump(
                    from,
                    to,
                    faults,
                    &is_reset,
                    random(direction),
                    show(direction),
                )
            };
            let mut up = pin!(pumped(from_client, to_server, &self.up, Direction::Up));
            let mut down = pin!(pumped(from_server, to_client, &self.down, Direction::Down));
            // Each direction ends by itself, unless the connection does.
            let (end, is_up) = tokio::select! {
                end = &mut up => (end, true),
                end = &mut down => (end, false),
            };
            if let End::Cut | End::Broken(_) = end {
                end
            } else {
                // Also what a receiver has said before it went is passed on.
                let other = if is_up { down.await } else { up.await };
                match (end, other) {
                    (unread @ End::Unread(_), End::HalfClosed | End::Stalled) => unread,
                    (_, other) => other,
                }
            }
        };
        match end {
            End::HalfClosed | End::Stalled => {}
            End::Cut if !self.must_reset => {
                let _late =
                    time::timeout(LINGER, async { tokio::join!(close(client), close(server)) })
                        .await;
            }
            End::Cut => reset().await,
            End::Broken(error) | End::Unread(error) => {
                self.style.line(number, &format!("broken: {error}"));
                reset().await;
            }
        }
        self.style.line(number, "closed");
    }
}

/// Closes the sending half, and reads on until the other end closes: with unread bytes the connection would be reset,
/// and the other end could lose what was passed on before.
async fn close(mut socket: Stream) {
    let _gone = socket.shutdown().await;
    let _gone = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
}
