//! What carries the bytes of a server's connections: TCP, Unix sockets, memory, and listeners of your own.
//!
//! A server listens at its [`address`](crate::server::Server::address) over TCP. With
//! [`listener`](crate::server::Server::listener), it accepts from other listeners as well, or instead. All
//! listeners of a server share its limits, its drain and its report.
//!
//! | transport | listener | peer |
//! |---|---|---|
//! | TCP | [`tokio::net::TcpListener`]; [`Server::address`](crate::server::Server::address) binds one | [`Peer::addr`](crate::Peer::addr) |
//! | Unix sockets | [`UnixSocket`], or [`tokio::net::UnixListener`] | [`UCred`](tokio::net::unix::UCred) as a [fact](crate::Peer::get) |
//! | memory | [`memory`] | unnamed |
//! | stdin and stdout | [`Stdio`] | unnamed |
//! | one of your own | a type with [`Listener`] | as you set it |
//!
#![cfg_attr(
    feature = "tls",
    doc = "TLS is a handshake: [`Tls`] at servers, and [`ClientTls`] at clients."
)]
#![cfg_attr(
    not(feature = "tls"),
    doc = "TLS is a handshake too, with the feature `tls`."
)]
//!
//! A [`Handshake`] runs before the first byte of the protocol, in the task of its connection.
//! [`Listener::with_handshake`] adds one to a listener.

#[cfg(feature = "tls")]
mod client_tls;
mod handshake;
mod listener;
mod memory;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "self-signed")]
mod self_signed;
mod stdio;
mod stream;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_error;
#[cfg(unix)]
mod unix;

#[cfg(feature = "tls")]
pub use client_tls::ClientTls;
pub use handshake::Handshake;
pub use listener::{Incoming, Listener, WithHandshake};
pub use memory::{MemoryConnector, MemoryListener, memory};
#[cfg(feature = "proxy")]
pub use proxy::{ProxyHeader, ProxyInfo};
#[cfg(feature = "self-signed")]
pub use self_signed::create_self_signed;
pub use stdio::Stdio;
pub use stream::Stream;
#[cfg(all(unix, feature = "systemd"))]
pub use systemd::{SystemdSocket, systemd_sockets};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsInfo};
#[cfg(unix)]
pub use unix::UnixSocket;

pub(crate) use handshake::DynHandshake;
pub(crate) use tcp::AddressListener;

pub use crate::address::Address;
