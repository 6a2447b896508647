//! `tcs listen`

mod follow;
mod script;

use std::{path::PathBuf, time::Duration};

use tcs::{
    Peer,
    framing::{Exchanges, Side},
    transport::{Handshake as _, Stream, Tls},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::script::Script;
use crate::{
    escape::unescaped,
    failure::{Exit, Failure},
    framing::{FrameKind, FramingSpec},
    options::{HelpFlags, duration},
    output::{log, print},
    payload::{Format, MessageOptions, View},
    socket::{Listener, Socket, cannot_accept},
    wire::Wire,
};

/// How long a client may take to close, after this end has.
const LINGER: Duration = Duration::from_secs(1);
/// How long nothing is accepted after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Be a server that follows a script
///
/// The first line on standard output says where it listens: `listening on 127.0.0.1:41234`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = script::HELP, disable_help_flag = true)]
pub(crate) struct Args {
    /// Where to listen, or unix:PATH; the port 0 is any free one
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    address: String,
    /// Speak TLS, with the certificate in this PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    #[command(flatten)]
    behavior: Behavior,
    /// Serve N connections [default: until Ctrl-C]
    #[arg(long, value_name = "N", conflicts_with = "script")]
    connections: Option<u64>,
    /// How long each step may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    messages: MessageOptions,
    /// Show requests on stderr
    #[arg(short, long, help_heading = "Messages")]
    verbose: bool,
    #[command(flatten)]
    help: HelpFlags,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Behavior {
    /// Follow a script, which --help-all explains
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Reply with each request
    #[arg(long)]
    echo: bool,
    /// Reply with TEXT to each request
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reply: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let has_script = args.behavior.script.is_some();
    // It ends by itself, so that the file of a Unix socket is removed. Only from the first poll on, a signal does not
    // end the process.
    tokio::select! {
        biased;
        _ = signal::ctrl_c() => {
            let message = "Ctrl-C has ended it before the end of the script";
            let unfinished = has_script.then(|| Failure::new(Exit::Interrupted, message));
            unfinished.map_or(Ok(()), Err)
        }
        done = listen(args) => done,
    }
}

async fn listen(args: Args) -> Result<(), Failure> {
    let script = match &args.behavior.script {
        Some(path) => Some(Script::read(path, args.messages.view)?),
        None => None,
    };
    let reply = args.behavior.reply.as_deref();
    let reply = reply
        .map(|text| message(args.messages.view, text))
        .transpose()?;
    let tls = match (&args.cert, &args.key) {
        (Some(certificate), Some(key)) => Some(Tls::from_pem(certificate, key)?),
        _ => None,
    };
    let (listener, address) = Listener::bind(&args.address).await?;
    print(&[format!("listening on {address}\n").as_bytes()])?;
    if let Some(script) = script {
        return follow::follow(&script, &listener, &args, tls).await;
    }
    serve_all(&listener, &args, tls, reply).await;
    Ok(())
}

/// Serves as many connections as the command line says, with the same reply to each request, or an echo.
async fn serve_all(listener: &Listener, args: &Args, tls: Option<Tls>, reply: Option<Vec<u8>>) {
    let mut left = args.connections.unwrap_or(u64::MAX);
    let mut served = JoinSet::new();
    while left > 0 {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => {
                    left -= 1;
                    let (framing, tls) = (args.messages.framing.clone(), tls.clone());
                    let (reply, limit) = (reply.clone(), args.timeout);
                    let view = args.verbose.then_some(args.messages.view);
                    served.spawn(async move {
                        let opened = timeout(limit, open(socket, &framing, tls.as_ref())).await;
                        match opened {
                            Ok(Ok((wire, _))) => serve(wire, reply, view, framing.exchanges()).await,
                            Ok(Err(failure)) => drop(failure.report()),
                            // It has never begun.
                            Err(_) => {}
                        }
                    });
                }
                Err(error) => {
                    cannot_accept(&error).report();
                    // Without descriptors, the next attempt would fail at once.
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // What has ended takes no memory.
            Some(_) = served.join_next() => {}
        }
    }
    drop(served.join_all().await);
}

/// Begins a connection, after the handshake if there is TLS. Returns its socket as well.
async fn open(
    socket: Socket,
    framing: &FramingSpec,
    tls: Option<&Tls>,
) -> Result<(Wire<Stream>, Socket), Failure> {
    let (mut stream, socket) = socket
        .into_stream()
        .map_err(|error| cannot_accept(&error))?;
    if let Some(tls) = tls {
        let secured = tls.perform(stream, &mut Peer::unnamed()).await;
        stream = secured.map_err(|error| {
            Failure::new(
                Exit::Rejected,
                format_args!("no TLS with the client: {error}"),
            )
            .hint("let the client speak TLS, and trust the certificate of --cert")
        })?;
    }
    Ok((Wire::new(stream, framing, Side::Server, 8 << 20), socket))
}

/// Returns the message of a text, which has escapes unless the format is JSON.
fn message(view: View, text: &str) -> Result<Vec<u8>, Failure> {
    if view.hex || view.format != Format::Plain {
        return view.encode(text);
    }
    unescaped(text).map_err(Failure::usage)
}

/// Replies to each request, with itself if there is no `reply`. With a `view`, requests are shown.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    reply: Option<Vec<u8>>,
    view: Option<View>,
    exchanges: Exchanges,
) {
    loop {
        let frame = match wire.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                Failure::from(error).report();
                return;
            }
        };
        if frame.kind != FrameKind::Message {
            continue;
        }
        if let Some(view) = view {
            log(format_args!(
                "request: {}",
                follow::quoted(view, &frame.payload)
            ));
        }
        let reply = reply.as_ref().unwrap_or(&frame.payload);
        if let Err(failure) = wire.queue(reply, frame.id) {
            failure.report();
            return;
        }
        if exchanges != Exchanges::Many {
            break;
        }
        // A client that sends on without reading waits.
        if wire.is_full() && wire.flush().await.is_err() {
            return;
        }
    }
    close(&mut wire).await;
}

/// Closes a connection so that the client gets everything: what is unread when a socket is closed resets it.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) {
    let closed = async {
        wire.close_half().await?;
        while wire.read_more().await? {
            wire.unread().clear();
        }
        Ok::<_, std::io::Error>(())
    };
    drop(timeout(LINGER, closed).await);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_read_waits() {
        let (mut client, server) = duplex(1 << 10);
        let framing: FramingSpec = "lines".parse().expect("a framing");
        let wire = Wire::new(server, &framing, Side::Server, 8 << 20);
        tokio::spawn(serve(wire, None, None, framing.exchanges()));
        let request = "x".repeat(1 << 16) + "\n";
        let mut sent = 0;
        let all = async {
            for _ in 0..100 {
                client
                    .write_all(request.as_bytes())
                    .await
                    .expect("it is served");
                sent += request.len();
            }
        };
        assert!(timeout(Duration::from_secs(1), all).await.is_err());
        assert!(sent < 2 << 20, "{sent}");
    }
}
