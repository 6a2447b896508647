//! A server without its types: it binds, serves, obeys signals and drains.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{net::TcpListener, runtime::Builder};

use super::{
    acceptor::Acceptor,
    config::Settings,
    handle::{Handle, Order},
    registry::Registry,
    report::Report,
    signals::Signals,
    spawn::Serve,
};
use crate::{
    Result,
    error::Repr,
    race::{Either, deadline_of, passed, race, until},
    runtime::{BoxFuture, block_on},
    socket::listen,
};

/// A server that does not listen yet.
pub(super) struct ServerPlan {
    pub(super) served: Arc<dyn Serve>,
    pub(super) settings: Settings,
    /// The most connections that are open at the same time.
    pub(super) max_open: usize,
    /// The fewest bytes of a message in the framing.
    pub(super) min_frame_len: usize,
}

/// A server that has its port and does not accept yet.
pub(super) struct BoundInner {
    served: Arc<dyn Serve>,
    settings: Settings,
    max_open: usize,
    pub(super) listener: TcpListener,
    pub(super) local_addr: SocketAddr,
    pub(super) handle: Handle,
}

impl ServerPlan {
    /// Binds the port.
    pub(super) fn bind(self) -> BoxFuture<'static, Result<BoundInner>> {
        Box::pin(async move {
            self.settings.check(self.min_frame_len)?;
            let addrs = self.settings.address.resolve().await?;
            let (listener, local_addr) = listen_at_any(&addrs)?;
            Ok(BoundInner {
                served: self.served,
                settings: self.settings,
                max_open: self.max_open,
                listener,
                local_addr,
                handle: Handle::new(),
            })
        })
    }

    /// Serves until the server is done, or a signal stops it.
    pub(super) fn listen_until_signal(self) -> BoxFuture<'static, Result<Report>> {
        Box::pin(async move {
            let signals = Signals::catch().map_err(|source| Repr::Signals { source })?;
            let bound = self.bind().await?;
            let handle = bound.handle.clone();
            serve_until_signal(signals, handle, bound.listen()).await
        })
    }

    /// Serves until the server is done, or a signal stops it, on a runtime of its own.
    pub(super) fn run(self) -> Result<()> {
        let served = self.listen_until_signal();
        block_on("listen()", Builder::new_multi_thread, served).map(drop)
    }
}

impl BoundInner {
    /// Serves until the server is done, or its handle stops it.
    pub(super) fn listen(self) -> BoxFuture<'static, Result<Report>> {
        let Self {
            served,
            settings,
            max_open,
            listener,
            local_addr,
            handle,
        } = self;
        let blocking = settings.blocking();
        let registry = Registry::new(settings.limits);
        served.listener().open(listener);
        let acceptor = Acceptor {
            local_addr,
            served,
            registry,
            blocking,
            max_open,
        };
        log_listening(local_addr, settings.max_connections);
        if let Some(on_listening) = settings.on_listening {
            on_listening(local_addr);
        }
        let drain = settings.drain;
        Box::pin(async move {
            let serving = pin!(serve(&acceptor, &handle, drain));
            acceptor.registry.sweeping(serving).await
        })
    }
}

/// Accepts until the server is done or stopped, and drains.
async fn serve(acceptor: &Acceptor, handle: &Handle, drain: Option<Duration>) -> Result<Report> {
    let (is_stopped, is_ended) = (
        || handle.was_told(Order::Stop),
        || handle.was_told(Order::End),
    );
    let stopped = pin!(until(handle.given(), &is_stopped));
    let accepted = match race(stopped, pin!(acceptor.accept_all())).await {
        Either::First(()) => Ok(()),
        Either::Second(accepted) => accepted,
    };
    acceptor.served.listener().close();
    let (ended, late) = (
        pin!(until(handle.given(), &is_ended)),
        pin!(passed(deadline_of(drain))),
    );
    let report = acceptor.registry.drain(race(ended, late)).await;
    accepted.map_err(|source| Repr::Accept { source })?;
    log_stopped(&report);
    if is_ended() {
        let cut = report.requests.cut;
        return Err(Repr::Interrupted { cut }.into());
    }
    Ok(report)
}

/// Stops a server that `listens` at the first signal, and aborts it at the second.
async fn serve_until_signal(
    mut signals: Signals,
    handle: Handle,
    mut listens: BoxFuture<'static, Result<Report>>,
) -> Result<Report> {
    let mut is_stopping = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(report) = listens.as_mut().poll(cx) {
                return Poll::Ready(report);
            }
            if signals.poll_next(cx).is_pending() {
                return Poll::Pending;
            }
            if is_stopping {
                handle.end();
            } else {
                tracing::info!("stopping; a second signal ends the server at once");
                handle.stop();
            }
            is_stopping = true;
        }
    })
    .await
}

/// Listens at the first of the addresses that is free.
fn listen_at_any(addrs: &[SocketAddr]) -> Result<(TcpListener, SocketAddr)> {
    let mut failure = Repr::Setting {
        setting: "address",
        reason: "has no socket address".to_owned(),
    };
    for addr in addrs {
        let listener = listen(*addr);
        match listener.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((local_addr, listener)) => return Ok((listener, local_addr)),
            Err(source) => {
                failure = Repr::Listen {
                    addr: *addr,
                    source,
                }
            }
        }
    }
    Err(failure.into())
}

fn log_listening(addr: SocketAddr, max_connections: usize) {
    tracing::info!(%addr, max_connections, "listening");
}

fn log_stopped(report: &Report) {
    if report.requests.cut > 0 {
        tracing::warn!(%report, "stopped, and cut what was in flight");
    } else {
        tracing::info!(%report, "stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_are_tried_in_their_order() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let (_first, taken) = listen_at_any(&[any]).expect("a free port");
        let (_second, addr) = listen_at_any(&[taken, any]).expect("a free port");
        assert!(addr != taken && addr.port() != 0);
        let error = listen_at_any(&[taken, taken]).expect_err("taken");
        assert_eq!(error.peer_addr(), Some(taken));
    }
}
