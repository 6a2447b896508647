//! The servers that are measured: each answers a length-prefixed message with itself.

use std::{io, net::SocketAddr};

use tokio::{net::TcpListener, runtime::Builder};

pub mod framed;
pub mod l0;
pub mod l1a;
pub mod l1b;
pub mod ours;

/// The names that [`run`] knows.
pub const NAMES: [&str; 14] = [
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
    "tcs-json",
    "tcs-postcard",
];

/// Serves `name` on a loopback port until it fails; `announce` learns the address.
///
/// One thread means the current-thread runtime, more the multi-threaded one. `l0` has no runtime.
pub fn run(
    name: &str,
    port: u16,
    threads: usize,
    announce: impl FnOnce(SocketAddr) + Send + 'static,
) -> io::Result<()> {
    if !NAMES.contains(&name) {
        let names = NAMES.join(", ");
        return Err(io::Error::other(format!(
            "no server is called {name}: {names}"
        )));
    }
    if name == "l0" {
        return l0::serve(port, announce);
    }
    let mut builder = if threads > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    let runtime = builder
        .worker_threads(threads.max(1))
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // The library takes its port itself.
        match name {
            "tcs" => return ours::serve(ours::Echo, port, announce).await,
            "tcs-text" => return ours::serve(ours::EchoText, port, announce).await,
            "tcs-typed" => return ours::serve(ours::EchoTyped, port, announce).await,
            "tcs-json" => return ours::serve(ours::EchoJson, port, announce).await,
            "tcs-postcard" => return ours::serve(ours::EchoPostcard, port, announce).await,
            _ => {}
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        announce(listener.local_addr()?);
        match name {
            "l1a" => l1a::serve(listener).await,
            "l1b" => l1b::serve(listener, l1b::bytes).await,
            "l1b-text" => l1b::serve(listener, l1b::text).await,
            "l1b-typed" => l1b::serve(listener, l1b::typed).await,
            "l1b-json" => l1b::serve(listener, l1b::json).await,
            "l1b-postcard" => l1b::serve(listener, l1b::postcard).await,
            "framed-send" => framed::serve(listener, framed::send).await,
            _ => framed::serve(listener, framed::forward).await,
        }
    })
}
