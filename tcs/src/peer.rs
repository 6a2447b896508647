//! The other end of a connection.

use std::{any::Any, fmt, net::SocketAddr, sync::Arc};

use crate::text::Escaped;

/// The other end of a connection: its address, and details that its transport knows.
///
/// A detail is a value of any type, such as the [`UCred`](tokio::net::unix::UCred) of a Unix socket. A
/// [`Handshake`](crate::transport::Handshake) inserts its own, and a protocol function reads it with
/// [`get`](Self::get), or through a parameter type with [`FromContext`](crate::protocol::FromContext).
#[derive(Clone, Default)]
pub struct Peer {
    addr: Option<SocketAddr>,
    /// Boxed, because each idle connection pays for its size, and most peers have neither.
    more: Option<Box<More>>,
}

#[derive(Clone, Default)]
struct More {
    name: Option<String>,
    facts: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Peer {
    /// Creates a peer with a socket address.
    pub const fn at(addr: SocketAddr) -> Self {
        Self {
            addr: Some(addr),
            more: None,
        }
    }

    /// Creates a peer without an address, such as the other end of a pipe in memory.
    pub const fn unnamed() -> Self {
        Self {
            addr: None,
            more: None,
        }
    }

    /// Creates a peer without an address, with a name for logs and errors.
    pub fn named(name: impl Into<String>) -> Self {
        let mut peer = Self::unnamed();
        peer.more().name = Some(name.into());
        peer
    }

    /// Returns the socket address, or `None` if the transport has none, as with
    /// [`serve_stream`](crate::server::Server::serve_stream).
    pub const fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Sets the socket address, such as that of the client of a load balancer.
    pub fn set_addr(&mut self, addr: SocketAddr) {
        self.addr = Some(addr);
    }

    /// Inserts a detail. It replaces the one of the same type.
    pub fn insert<T: Send + Sync + 'static>(&mut self, fact: T) {
        let facts = &mut self.more().facts;
        // One for each type, so that `get` has one answer. A list, because a connection has one or two, and a map
        // takes more memory.
        facts.retain(|known| !known.is::<T>());
        facts.push(Arc::new(fact));
    }

    /// Returns the detail of type `T`, or `None` if there is none.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let mut facts = self.more.as_ref()?.facts.iter();
        facts.find_map(|fact| fact.downcast_ref())
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// Writes the address, the name with its control characters escaped, or `unnamed peer`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.more.as_ref().and_then(|more| more.name.as_ref());
        match (self.addr, name) {
            (Some(addr), _) => addr.fmt(f),
            // It may come from a peer, such as the subject of a certificate, and is written to logs.
            (None, Some(name)) => Escaped::all(name.as_bytes()).fmt(f),
            (None, None) => f.write_str("unnamed peer"),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}
