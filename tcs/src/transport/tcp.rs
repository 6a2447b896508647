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
        let (stream, addr) = Self::accept(self).await?;
        send_without_delay(&stream);
        let local_addr = stream.local_addr().ok().map(canonical);
        Ok(Some(Incoming {
            local_addr,
            ..Incoming::new(stream, Peer::at(canonical(addr)))
        }))
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
