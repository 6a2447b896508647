//! A server without its types, which has not bound its port.

use std::{
    io::{ErrorKind, Write as _, stderr},
    mem::take,
    net::SocketAddr,
    sync::Arc,
};

use tokio::{net::TcpListener, runtime::Builder};

use super::{
    bound::BoundServer,
    report::Report,
    settings::Settings,
    shared::DynShared,
    signals::Signals,
    stop::{ServerHandle, StopOnDrop},
};
use crate::{
    Error, Result,
    runtime::block_on,
    socket::{Keepalive, limit_unsent, listen},
    transport::{AddressListener, WithHandshake},
};

/// A server that does not listen yet.
pub(super) struct UnboundServer {
    pub(super) shared: Arc<dyn DynShared>,
    pub(super) settings: Settings,
}

pub(super) type OnListening = Box<dyn FnOnce(&BoundServer) + Send>;

impl UnboundServer {
    /// Binds the port.
    pub(super) async fn bind(mut self) -> Result<BoundServer> {
        if self.settings.listens_at_address() {
            // The check precedes the lookup, whose error would hide the real mistake, such as `tls://`.
            self.settings.address.check_server()?;
            let addrs = self.settings.address.resolve().await?;
            let keepalive = self.settings.keepalive();
            let listener = listen_at_any(&addrs, self.settings.reuse_port, keepalive)?;
            if self.shared.has_ids() {
                limit_unsent(&listener);
            }
            let at_address = WithHandshake {
                listener: AddressListener::new(listener, keepalive),
                handshakes: take(&mut self.settings.handshakes),
            };
            // The listener at the address is the first, because `local_addrs` promises that order.
            self.settings.listeners.insert(0, Box::new(at_address));
        }
        let handle = ServerHandle::new(self.settings.registry());
        Ok(BoundServer {
            server: self,
            handle: StopOnDrop(handle),
        })
    }

    /// Serves on a new runtime until the server is done or a signal stops it.
    pub(super) fn run(mut self) -> Result<()> {
        if !tracing::dispatcher::has_been_set() {
            let on_listening = &mut self.settings.on_listening;
            on_listening.get_or_insert_with(|| Box::new(say_listening));
        }
        let report = listen_until_signal(Ok(self));
        block_on("listen_until_signal()", Builder::new_multi_thread, report).map(drop)
    }
}

/// Binds the port. Logs an error, because the caller may be a spawned task whose result is not used.
pub(super) async fn bind_or_log(server: Result<UnboundServer>) -> Result<BoundServer> {
    let bound = match server {
        Ok(server) => server.bind().await,
        Err(error) => Err(error),
    };
    bound.inspect_err(|error| tracing::error!(?error, "the server does not listen"))
}

/// Serves until the server is done. The first signal stops it, the second aborts it.
pub(super) async fn listen_until_signal(server: Result<UnboundServer>) -> Result<Report> {
    // Signals are caught before the port is bound: once it is bound, a supervisor may stop the server, and a signal
    // that is not caught would end the process without a drain.
    let signals = Signals::catch().map_err(Error::signals)?;
    let bound = bind_or_log(server).await?;
    bound.listen_until_signals(signals).await
}

/// Writes to stderr where a server listens. A server without an address, as over stdin, writes nothing, because stderr
/// may be the peer's.
fn say_listening(server: &BoundServer) {
    for addr in server.local_addrs() {
        // An error does not matter, because the line is only for people.
        writeln!(stderr(), "listening on {addr}").ok();
    }
}

/// Listens on the first address that this machine has.
///
/// An address that is in use is an error. If the server took the next address, a second server on `localhost` would
/// listen on the other IP version, and its peers would reach the first server.
fn listen_at_any(
    addrs: &[SocketAddr],
    reuse_port: bool,
    keepalive: Option<Keepalive>,
) -> Result<TcpListener> {
    let mut failure = Error::setting("address", "has no socket address");
    for addr in addrs {
        match listen(*addr, reuse_port, keepalive) {
            Ok(listener) => return Ok(listener),
            Err(source) => {
                let is_in_use = source.kind() == ErrorKind::AddrInUse;
                failure = Error::listen(*addr, source);
                if is_in_use {
                    break;
                }
            }
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_of_other_machines_are_passed_over() {
        // TEST-NET-1 (RFC 5737), which no machine has.
        let elsewhere: SocketAddr = "192.0.2.1:0".parse().expect("an address");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let listener = listen_at_any(&[elsewhere, any], false, None).expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        assert!(addr.ip().is_loopback() && addr.port() != 0);
        let error = listen_at_any(&[elsewhere, elsewhere], false, None).expect_err("not here");
        assert_eq!(error.peer_addr(), Some(elsewhere));
    }

    #[tokio::test]
    async fn address_in_use_is_an_error_even_if_another_is_free() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let first = listen_at_any(&[any], false, None).expect("a free port");
        let taken = first.local_addr().expect("it listens");
        let error = listen_at_any(&[taken, any], false, None).expect_err("in use");
        assert_eq!(error.peer_addr(), Some(taken));
    }
}
