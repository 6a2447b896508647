//! `tcs listen`

mod follow;
mod script;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use tcs::framing::{Exchanges, Side};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::script::Script;
use crate::{
    failure::{Exit, Failure, report, run_async},
    framing::{FramingSpec, Kind},
    help::HelpFlags,
    output::print,
    payload::{View, escaped, unescaped},
    target::duration,
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
    /// Where to listen; the port 0 is any free one
    #[arg(value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    address: SocketAddr,
    #[command(flatten)]
    does: Does,
    /// Serve N connections [default: until Ctrl-C]
    #[arg(long, value_name = "N", conflicts_with = "script")]
    connections: Option<u64>,
    /// How long each step may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Framing, such as lines [default: length-prefixed]
    #[arg(short, long, value_name = "NAME", default_value_t, hide_default_value = true,
        help_heading = "Messages", long_help = crate::framing::LONG_HELP)]
    framing: FramingSpec,
    #[command(flatten)]
    view: View,
    /// Show requests on stderr
    #[arg(short, long, help_heading = "Messages")]
    verbose: bool,
    #[command(flatten)]
    help: HelpFlags,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Does {
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

pub(crate) fn run(args: Args) -> ExitCode {
    report(run_async(listen(args)))
}

async fn listen(args: Args) -> Result<(), Failure> {
    let script = match &args.does.script {
        Some(path) => Some(Script::read(path, args.view)?),
        None => None,
    };
    let reply = args.does.reply.as_deref();
    let reply = reply.map(|text| message(args.view, text)).transpose()?;
    let listener = bind(args.address).await?;
    if let Some(script) = script {
        return follow::follow(&script, &listener, &args).await;
    }
    let mut left = args.connections.unwrap_or(u64::MAX);
    let mut served = JoinSet::new();
    while left > 0 {
        tokio::select! {
            accepted = accept(&listener, &args) => match accepted {
                Ok(wire) => {
                    left -= 1;
                    let exchanges = args.framing.exchanges();
                    served.spawn(serve(wire, reply.clone(), args.verbose, exchanges));
                }
                Err(failure) => {
                    failure.report();
                    // Without descriptors, the next attempt would fail at once.
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // What has ended takes no memory.
            Some(_) = served.join_next() => {}
        }
    }
    drop(served.join_all().await);
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    let (listener, address) = listening.await.map_err(|error| {
        let message = format!("cannot listen on {address}: {error}");
        Failure::new(Exit::Connect, message)
            .hint("end what listens there, or choose another port: 0 is any free one")
    })?;
    print(&[format!("listening on {address}\n").as_bytes()])?;
    Ok(listener)
}

async fn accept(listener: &TcpListener, args: &Args) -> Result<Wire<TcpStream>, Failure> {
    let (stream, _) = listener.accept().await.map_err(|error| {
        Failure::new(
            Exit::Connect,
            format_args!("cannot accept a connection: {error}"),
        )
    })?;
    // Steps of a script may be small.
    drop(stream.set_nodelay(true));
    Ok(Wire::new(stream, &args.framing, Side::Server, 8 << 20))
}

/// Returns the message of a text, which has escapes unless the format is JSON.
fn message(view: View, text: &str) -> Result<Vec<u8>, Failure> {
    if view.hex || view.format != crate::payload::Format::Plain {
        return view.encode(text);
    }
    unescaped(text).map_err(Failure::usage)
}

/// Replies to each request, with itself if there is no `reply`.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    reply: Option<Vec<u8>>,
    is_verbose: bool,
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
        if frame.kind != Kind::Message {
            continue;
        }
        if is_verbose {
            eprintln!("tcs: request: {}", escaped(&frame.payload));
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
        tokio::spawn(serve(wire, None, false, framing.exchanges()));
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
