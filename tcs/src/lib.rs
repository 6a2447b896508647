//! Serves plain functions over TCP.
//!
//! An attribute turns a function into a protocol, a server serves it, and a client calls it:
//!
//! ```
//! use tcs::{ConcurrentServer, Connection, client_protocol, server_protocol};
//!
//! #[server_protocol]
//! fn greet(name: &str) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! #[client_protocol(server = Greet, request = |name: &str| name)]
//! fn count(reply: String) -> usize {
//!     reply.chars().count()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tcs::Result<()> {
//! let server = ConcurrentServer::new(Greet).port(0).bind().await?;
//! let (addr, handle) = (server.local_addr(), server.handle());
//! let server = tokio::spawn(server.listen());
//!
//! let mut connection = Connection::connect(addr).await?;
//! assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
//! assert_eq!(connection.exchange(Count { name: "Ann" }).await?, 11);
//! assert_eq!(greet("Ann"), "Hello, Ann!");
//!
//! handle.stop();
//! let report = server.await.expect("no panic")?;
//! assert_eq!(report.requests.served, 2);
//! # Ok(())
//! # }
//! ```
//!
//! On a module of functions, [`#[server_protocol]`](macro@server_protocol#a-module-of-functions-several-operations)
//! makes one protocol of all of them, and a client with a method for each.
//!
//! The attributes implement two traits, [`ServerProtocol`] and [`ClientProtocol`], which you can also
//! implement by hand. A protocol has a [`Framing`], which splits the byte stream into messages, and a
//! format, which encodes and decodes messages ([`Encode`], [`Decode`]). The defaults are
//! [`LengthPrefixed`] and [`Plain`].
//!
//! The root of the crate has what most programs need. The modules [`framing`], [`mod@format`],
//! [`protocol`], [`server`], [`client`] and [`transport`] have the rest.
//!
//! # How do I …
//!
//! | task | see |
//! |---|---|
//! | share state, keep data for a connection | [parameters](macro@server_protocol#parameters) |
//! | close the connection with a reply, or send none | [`Response`] |
//! | greet clients, choose the framing and the format | [options](macro@server_protocol#options) |
//! | reject in my own words | [rejections](macro@server_protocol#rejections-in-words-of-your-own) |
//! | speak an existing protocol | [`Framing`] and its table |
//! | limit sizes and times | [limits](#limits) |
//! | stop a server, also in a test | [stopping](#stopping) |
//! | know what happens when a peer leaves | [below](#when-the-peer-leaves) |
//! | send many requests at once | [`Pipeline`], [`Channel`] |
//! | set a client's timeouts | [`ConnectOptions`](client::ConnectOptions) |
//! | know whether a failed request was executed | [`Execution`] |
//! | serve TLS, a Unix socket or another transport | [`transport`] |
//! | run a server under systemd, in a container, behind a balancer; replace it without downtime | [docs/deploy.md](https://docs.rs/crate/tcs/latest/source/docs/deploy.md) |
//! | read the log | [logging](#logging) |
//!
//! # Which server when
//!
//! | server | connections at a time | returns when | for |
//! |---|---|---|---|
//! | [`OnceServer`] | one, for one request | that request is answered or rejected | a callback, a hand-over, a test |
//! | [`IterativeServer`] | one; others wait in the backlog | it is stopped | a device or resource for one user at a time |
//! | [`ConcurrentServer`] | up to `max_connections`, a task for each | it is stopped | everything else |
//!
//! # Which framing when
//!
//! For a new protocol, use the default, [`LengthPrefixed`]: it tells the client why a request was
//! rejected. For people with `nc`, use [`Lines`]. For existing protocols, there are [`CrlfLines`],
//! [`Delimited`], [`Fixed`], [`Prefixed`], [`Netstrings`] and [`UntilEof`], [`Raw`] for the Python library
//! for teaching, and `Codec<C>` for codecs of `tokio_util`. For a table of them, and what they cannot
//! tell the client, see [`Framing`].
//!
//! # Which client when
//!
//! | client | connections | in flight | for |
//! |---|---|---|---|
//! | [`Client`] | one for each exchange | 1 | a command, an occasional request |
//! | [`Connection`] | one, kept open | 1, or many with a [`Pipeline`] | one task |
//! | [`Channel`] | one, kept open | many, from many tasks | an application |
//!
//! # Stopping
//!
//! `run()` starts a runtime and handles signals: Ctrl-C and SIGTERM stop the server, and a second signal
//! ends it at once. [`start()`](server::Server::start) serves on another thread until the program stops
//! it, for programs that are not `async`. `listen().await` serves on your runtime and handles no signals.
//! There, you can stop the server with a [`ServerHandle`](server::ServerHandle) or a future
//! ([`listen_until`](server::Server::listen_until)). To handle signals as `run()` does, use
//! [`listen_until_signal`](server::Server::listen_until_signal).
//!
//! A server that is stopped drains: it accepts no more connections, sends *going away* to idle ones,
//! waits up to a second for the rest of a started frame, and answers the requests in flight. After the
//! drain timeout, it aborts the rest. Idle connections are closed at once, without waiting for their
//! peers to close, unless something is unread ([`linger`](server::Server::linger)). The [`Report`] counts
//! the requests and the connections by their outcome.
//!
//! # Limits
//!
//! Every wait for a peer and every size has a limit. [`Server`](server::Server) documents each with its setting.
//! What exceeds a limit is rejected with a text that names the limit, if the framing can carry it.
//!
//! | setting | default | limits |
//! |---|---|---|
//! | [`max_frame_len`](server::Server::max_frame_len) | 8 MiB | a message without its header, both ways |
//! | [`max_connections`](server::Server::max_connections) | 1,024, or what the descriptor limit leaves | open connections |
//! | [`max_blocking`](server::Server::max_blocking) | 512 | `blocking` functions that run at the same time |
//! | [`idle_timeout`](server::Server::idle_timeout) | 300 s; iterative 5 s; once 30 s | the wait for a request |
//! | [`frame_timeout`](server::Server::frame_timeout) | 30 s + 1 s per 64 KiB that arrived | the rest of a started frame |
//! | [`request_timeout`](server::Server::request_timeout) | none | a function |
//! | [`half_close_timeout`](server::Server::half_close_timeout) | 30 s | functions that wait, for a peer that has closed its sending half |
//! | [`write_timeout`](server::Server::write_timeout) | 30 s + 1 s per 64 KiB that were taken | a peer that reads too slowly |
//! | [`linger`](server::Server::linger) | 2 s | a peer that does not close |
//! | [`drain_timeout`](server::Server::drain_timeout) | 30 s | the drain of a stopped server |
//! | [`connect_timeout`] | 5 s | a client's connection attempt |
//! | [`reply_timeout`] | 30 s | a client's exchange |
//! | [`max_in_flight`] | 1,024 | a client's requests that wait for replies |
//!
//! # Errors
//!
//! The functions of this library return an [`Error`]. It has a [`kind`](Error::kind), and an
//! [`execution`](Error::execution), which says whether a request that failed was executed. An error on
//! one connection of a server is sent to its peer, logged with `tracing`, and affects no other
//! connection: see [`server`].
//!
//! The `Err` of a protocol function reaches the client as an [`Error`] with a [`Rejection`] if the
//! framing is [`LengthPrefixed`]. With other framings, its text is the reply, unless the protocol
//! encodes rejections itself (`reject_with = …`). A panic fails its request. Its text stays on the
//! server.
//!
//! # Cancel safety
//!
//! Each `async fn` documents what dropping its future does. In short: a dropped server closes its
//! listener and aborts its connections. A dropped [`call`](Connection::call) closes its connection, so
//! that a reply never reaches another caller. A dropped call of a [`Channel`] affects no other call.
//!
//! # When the peer leaves
//!
//! A protocol function that waits is dropped when
//!
//! - the peer resets the connection, unless more than 64 KiB of its further requests are unread;
//! - the peer has closed its sending half and
//!   [`half_close_timeout`](server::Server::half_close_timeout) is over, or at once with
//!   `half_close = ends`;
//! - the peer has not read the earlier replies within
//!   [`write_timeout`](server::Server::write_timeout);
//! - [`request_timeout`](server::Server::request_timeout) or
//!   [`drain_timeout`](server::Server::drain_timeout) is over, or the server is aborted or dropped.
//!
//! A function that computes, or is `blocking`, is not interrupted. See [`server`] for what becomes of
//! its reply.
//!
//! # Logging
//!
//! The library logs with `tracing`, and installs no subscriber. `ERROR` has panics, `WARN` limits that the
//! system lowers and requests that a stop aborted, and `INFO` the start, the stop, and each connection that
//! was closed without telling its peer why. `DEBUG` has all other rejections, idle connections, and peers of
//! other protocols. The events of a connection are in the span `connection`, with its `peer` and `id`.
//!
//! # Features
//!
//! No feature is enabled by default. Each adds a type to [`mod@format`], and the crates that it needs.
//! The feature `codec` adds [`framing`]`::Codec`, which makes any codec of `tokio_util` a framing and a
//! format.
//!
//! | feature | format | messages | for |
//! |---|---|---|---|
//! | – | [`Plain`] | text, bytes, and types with `Display` and `FromStr` | text, and bytes that are already encoded |
//! | `json` | `Json` | serde's types | any language, and people |
//! | `postcard` | `Postcard` | serde's types | Rust programs: the fewest bytes and instructions |
//! | `messagepack` | `MessagePack` | serde's types | any language, with fewer bytes than JSON |
//! | `protobuf` | `Protobuf` | `prost`'s messages | contracts in `.proto` files |
//! | `codec` | `Codec<C>` | the codec's items | existing codecs |
//!
//! With the feature `json`, and serde with its feature `derive`, a type of your own can be a message:
//!
#![cfg_attr(feature = "json", doc = "```")]
#![cfg_attr(not(feature = "json"), doc = "```ignore")]
//! #[derive(serde::Deserialize)]
//! struct Order<'a> {
//!     item: &'a str, // borrowed from the receive buffer
//!     count: u32,
//! }
//!
//! #[tcs::server_protocol(format = tcs::format::Json)]
//! fn sell(order: Order<'_>) -> Result<u32, String> {
//!     match order.count {
//!         0 => Err(format!("no {}", order.item)),
//!         count => Ok(count * 250),
//!     }
//! }
//! ```
//!
//! # What is not stable
//!
//! Before 1.0, a change of the second version number may break programs. `CHANGELOG.md` lists the
//! changes, and `WIRE.md` specifies each framing and each format; both are in the package. The reserved
//! kinds of control frames in [`LengthPrefixed`] may get a meaning, and the others will not change. The
//! hidden module `__private` is only for the attributes.
//!
//! [`ClientProtocol`]: protocol::ClientProtocol
//! [`CrlfLines`]: framing::CrlfLines
//! [`Decode`]: format::Decode
//! [`Delimited`]: framing::Delimited
//! [`Encode`]: format::Encode
//! [`Fixed`]: framing::Fixed
//! [`Framing`]: framing::Framing
//! [`LengthPrefixed`]: framing::LengthPrefixed
//! [`Lines`]: framing::Lines
//! [`Netstrings`]: framing::Netstrings
//! [`Pipeline`]: client::Pipeline
//! [`Plain`]: format::Plain
//! [`Prefixed`]: framing::Prefixed
//! [`Raw`]: framing::Raw
//! [`Report`]: server::Report
//! [`ServerProtocol`]: protocol::ServerProtocol
//! [`UntilEof`]: framing::UntilEof
//! [`connect_timeout`]: client::ConnectOptions::connect_timeout
//! [`max_in_flight`]: client::ConnectOptions::max_in_flight
//! [`reply_timeout`]: client::ConnectOptions::reply_timeout

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

mod address;
mod buffer;
pub mod client;
mod context;
mod error;
pub mod format;
pub mod framing;
mod limit;
mod macro_support;
mod panics;
pub mod protocol;
mod rejection;
mod runtime;
pub mod server;
mod socket;
mod text;
pub mod transport;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use address::Address;
pub use client::{channel::Channel, connection::Connection, exchange::Client};
pub use context::{ConnectionInfo, FromContext, Peer};
pub use error::{Error, ErrorKind, Execution, Result};
pub use format::response::Response;
pub use rejection::{Rejection, RejectionKind};
pub use server::builder::{ConcurrentServer, IterativeServer, OnceServer};
#[doc = include_str!("attributes/client_protocol.md")]
pub use tcs_macros::client_protocol;
#[doc = include_str!("attributes/server_protocol.md")]
pub use tcs_macros::server_protocol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, unix, feature = "proxy", feature = "systemd"))]
#[doc = include_str!("../docs/deploy.md")]
struct Deploy;
