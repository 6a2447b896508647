//! What carries the bytes of a server's connections: TCP, Unix sockets, memory, and listeners of your own.
//!
//! A server listens at its [`address`](crate::server::Server::address) over TCP. With
//! [`listener`](crate::server::Server::listener), it accepts from other listeners as well, or instead. All
//! listeners of a server share its limits, its drain and its report.
//!
//! | transport | listener | peer |
//! |---|---|---|
//! | TCP | [`tokio::net::TcpListener`]; [`Server::address`](crate::server::Server::address) binds one | [`Peer::addr`] |
//! | Unix sockets | [`UnixSocket`], or [`tokio::net::UnixListener`] | [`UCred`](tokio::net::unix::UCred) as a [fact](Peer::get) |
//! | memory | [`memory`] | unnamed |
//! | stdin and stdout | [`Stdio`] | unnamed |
//! | one of your own | a type with [`Listener`] | as you set it |
//!
//! A [`Handshake`] runs before the first byte of the protocol, in the task of its connection.
//! [`Listener::with_handshake`] adds one to a listener.

mod handshake;
mod listener;
mod memory;
mod stdio;
mod stream;
mod tcp;
#[cfg(unix)]
mod unix;

pub use handshake::Handshake;
pub use listener::{Incoming, Listener, WithHandshake};
pub use memory::{MemoryConnector, MemoryListener, memory};
pub use stdio::Stdio;
pub use stream::Stream;
#[cfg(unix)]
pub use unix::UnixSocket;

pub(crate) use handshake::DynHandshake;
