//! The servers that are measured: each answers a length-prefixed message with itself.

use std::{io, net::SocketAddr};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

pub mod combinations;
pub mod framed;
pub mod l0;
pub mod l1a;
pub mod l1b;
pub mod ours;
pub mod slow;
pub mod tls;

use slow::Slow;

use crate::tls::identity;

/// Learns the address. In a box, so that all servers are compiled with this crate, and once.
pub type Announce = Box<dyn FnOnce(SocketAddr) + Send>;

/// The largest message, in bytes.
pub const MAX_FRAME_LEN: usize = 16 << 20;

/// The names that [`run`] knows, beside those of [`combinations`].
pub const NAMES: [&str; 22] = [
    "l0",
    "l1a",
    "l1b",
    "l1b-text",
    "l1b-typed",
    "l1b-json",
    "l1b-postcard",
    "framed-send",
    "framed-forward",
    "tcs",
    "tcs-text",
    "tcs-typed",
    "l1b-sleep",
    "l1b-work",
    "l1b-blocking",
    "tcs-sleep",
    "tcs-work",
    "tcs-blocking",
    "tcs-json",
    "tcs-postcard",
    "l1b-tls",
    "tcs-tls",
];

/// Serves `name` on a loopback port until it fails; `announce` learns the address.
///
/// `l0` has no runtime.
pub fn run(name: &str, port: u16, threads: usize, announce: Announce) -> io::Result<()> {
    if !NAMES.contains(&name) && combinations::named(name).is_none() {
        let known = NAMES.join(", ");
        return Err(io::Error::other(format!(
            "no server is called {name}; there are {known}, and enum-… and operations-… with async, \
             json, postcard or small"
        )));
    }
    if name == "l0" {
        return l0::serve(port, announce);
    }
    if name.ends_with("-tls") {
        // Before a client can know the address: it reads the same files, and would create them at the same time.
        identity()?;
    }
    runtime(threads)?.block_on(async {
        // The library takes its port itself.
        match name {
            "tcs" => return ours::serve(ours::Echo, port, announce).await,
            "tcs-text" => return ours::serve(ours::EchoText, port, announce).await,
            "tcs-typed" => return ours::serve(ours::EchoTyped, port, announce).await,
            "tcs-sleep" => return ours::serve(slow::AfterSleep, port, announce).await,
            "tcs-work" => return ours::serve(slow::AfterWork, port, announce).await,
            "tcs-blocking" => return ours::serve(slow::AfterBlocking, port, announce).await,
            "tcs-json" => return ours::serve(ours::EchoJson, port, announce).await,
            "tcs-postcard" => return ours::serve(ours::EchoPostcard, port, announce).await,
            "tcs-tls" => return ours::serve_tls(ours::Echo, port, announce).await,
            _ if combinations::named(name).is_some() => {
                return combinations::serve(name, port, announce).await;
            }
            _ => {}
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        announce(listener.local_addr()?);
        match name {
            "l1a" => l1a::serve(listener).await,
            "l1b" => l1b::serve(listener, l1b::bytes).await,
            "l1b-tls" => tls::serve(listener).await,
            "l1b-text" => l1b::serve(listener, l1b::text).await,
            "l1b-typed" => l1b::serve(listener, l1b::typed).await,
            "l1b-sleep" => slow::serve(listener, Slow::Sleep).await,
            "l1b-work" => slow::serve(listener, Slow::Work).await,
            "l1b-blocking" => slow::serve(listener, Slow::Blocking).await,
            "l1b-json" => l1b::serve(listener, l1b::json).await,
            "l1b-postcard" => l1b::serve(listener, l1b::postcard).await,
            "framed-send" => framed::serve(listener, framed::send).await,
            _ => framed::serve(listener, framed::forward).await,
        }
    })
}

/// Makes the current-thread runtime for one thread, and the multi-threaded one for more.
pub fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    builder.worker_threads(threads.max(1)).enable_all().build()
}
