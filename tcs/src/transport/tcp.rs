//! TCP.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::{Incoming, Listener};
use crate::{
    Peer,
    socket::{canonical, send_without_delay},
};

/// Connections have `TCP_NODELAY`. An IPv4 peer of a listener on `[::]` has its IPv4 address.
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        accept(self, None).await
    }

    fn name(&self) -> String {
        match Self::local_addr(self) {
            Ok(addr) => addr.to_string(),
            Err(_) => "TCP".to_owned(),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }
}

/// The listener at the address of a server. It knows which address a peer has reached, unless it listens on all.
#[derive(Debug)]
pub(crate) struct AddressListener {
    listener: TcpListener,
    known: Option<SocketAddr>,
}

impl AddressListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        let addr = listener.local_addr().ok();
        let known = addr.filter(|addr| !addr.ip().is_unspecified());
        Self { listener, known }
    }
}

impl Listener for AddressListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        accept(&self.listener, self.known).await
    }

    fn name(&self) -> String {
        self.listener.name()
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

async fn accept(
    listener: &TcpListener,
    local_addr: Option<SocketAddr>,
) -> io::Result<Option<Incoming>> {
    let (stream, addr) = listener.accept().await?;
    send_without_delay(&stream);
    let local_addr = local_addr.or_else(|| stream.local_addr().ok().map(canonical));
    Ok(Some(Incoming {
        local_addr,
        closes_on_drop: true,
        ..Incoming::new(stream, Peer::at(canonical(addr)))
    }))
}
