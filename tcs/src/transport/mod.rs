//! The transports of a server's connections: TCP, Unix sockets, memory, and listeners of your own.
//!
//! A server listens on its [`address`](crate::server::Server::address) over TCP. Use
//! [`listener`](crate::server::Server::listener) to accept from other listeners as well, or instead. All listeners
//! share the limits, the drain and the report of the server.
//!
//! | transport | listener | peer |
//! |---|---|---|
//! | TCP | [`tokio::net::TcpListener`]; [`Server::address`](crate::server::Server::address) binds one | [`Peer::addr`](crate::Peer::addr) |
//! | Unix sockets | [`UnixSocketListener`], or [`tokio::net::UnixListener`] | [`UCred`](tokio::net::unix::UCred) as a [detail](crate::Peer::get) of the peer |
//! | memory | [`memory`] | unnamed |
//! | stdin and stdout | [`StdioListener`] | unnamed |
//! | your own | a type that implements [`Listener`] | as you set it |
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
//!
//! # Examples
//!
//! Plaintext for this machine, and TLS for others:
//!
//! ```no_run
//! # #[cfg(all(unix, feature = "tls"))]
//! # mod example {
//! use tcs::{
//!     ConcurrentServer, server_protocol,
//!     transport::{Listener as _, Tls, UnixSocketListener},
//! };
//! use tokio::net::TcpListener;
//!
//! #[server_protocol]
//! fn greet(name: &str) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let tls = Tls::from_pem("cert.pem", "key.pem")?;
//!     ConcurrentServer::new(Greet)
//!         .listener(UnixSocketListener::bind("/run/greet.sock", 0o660)?)
//!         .listener(TcpListener::bind("127.0.0.1:7000").await?)
//!         .listener(TcpListener::bind("0.0.0.0:7443").await?.with_handshake(tls))
//!         .listen_until_signal()
//!         .await?;
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```

mod address;
#[cfg(feature = "tls")]
mod client_tls;
mod handshake;
mod listener;
mod memory;
mod over_tls;
#[cfg(feature = "tls")]
mod pem;
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
#[cfg(unix)]
mod unregistered;

pub use address::Address;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use address::TWO_ADDRESSES;
#[cfg(feature = "tls")]
pub use client_tls::ClientTls;
pub use handshake::Handshake;
pub use listener::{Incoming, Listener, WithHandshake};
pub use memory::{MemoryConnector, MemoryListener, memory};
#[cfg(feature = "proxy")]
pub use proxy::{ProxyHeader, ProxyInfo};
#[cfg(feature = "self-signed")]
pub use self_signed::create_self_signed;
pub use stdio::StdioListener;
pub use stream::Stream;
#[cfg(all(unix, feature = "systemd"))]
pub use systemd::{SystemdListener, systemd_sockets};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsInfo};
#[cfg(unix)]
pub use unix::UnixSocketListener;

pub(crate) use handshake::DynHandshake;
pub(crate) use over_tls::{StartedTls, explain_if_tls, is_over_tls};
pub(crate) use stream::close;
pub(crate) use tcp::AddressListener;
