//! The servers, their settings and their reports.
//!
//! The three servers differ in how many connections they serve at once, and in when they return.
//!
//! | type | connections at once | returns when |
//! |---|---|---|
//! | [`OnceServer`](crate::OnceServer) | one, for one request; connections that end without one are ignored | that request is answered or rejected |
//! | [`IterativeServer`](crate::IterativeServer) | one; others wait in the backlog | stopped |
//! | [`ConcurrentServer`](crate::ConcurrentServer) | up to [`max_connections`](Server::max_connections), each in its own task | stopped |
//!
//! # What each error ends
//!
//! | error | ends |
//! |---|---|
//! | a request that cannot be decoded, is too large, or is rejected; a panic of the function | the request, and the connection if the framing cannot report the error |
//! | malformed frames, a reset, an expired limit other than `request_timeout` | the connection |
//! | an expired `request_timeout` | the request, and the connection if it has a session and no `concurrent` |
//! | no memory for a large request | the connection; the peer receives *busy* |
//! | no memory for a large reply | the request, which failed |
//! | a handshake that fails, or takes longer than `handshake_timeout` | the connection |
//! | no descriptors for a new connection | the new connection; the peer receives *too many connections* |
//! | no memory for a new connection | nothing: accepting is retried every 100 ms |
//! | a listener fails | the listener; the server, after a drain, if no other is left |
//!
//! # What becomes of a function
//!
//! A function that waits is dropped at its `.await` when one of these events happens. A function that computes, or runs
//! under `blocking`, cannot be interrupted:
//!
//! | event | a waiting function is dropped | a computing or blocking function ends first |
//! |---|---|---|
//! | the peer resets the connection, unless more than 64 KiB of further requests wait | at once | no further request is started |
//! | the peer closes its sending half, or closes the connection gracefully | after [`half_close_timeout`](Server::half_close_timeout) (30 s); at once with `half_close = ends` | its reply is sent |
//! | the peer does not read | when earlier replies wait longer than [`write_timeout`](Server::write_timeout) (30 s) | its reply is sent, within the same limit |
//! | the peer gives no credit for a stream (`Multiplexed`) | after [`write_timeout`](Server::write_timeout) (30 s); the peer receives *timed out* | its items are dropped in the same way |
//! | the function takes longer than [`request_timeout`](Server::request_timeout) (none) | at once; the peer receives *timed out* | its reply is sent |
//! | the server drains | after [`drain_timeout`](Server::drain_timeout) (30 s) | the report counts its request as aborted |
//!
//! For a function with [`Replies`](crate::protocol::Replies), `request_timeout` applies to each item. To return before
//! it is dropped, a function can take [`Closed`](crate::protocol::Closed), which is ready when the peer has closed, or
//! [`Draining`](crate::protocol::Draining), which is ready when the drain begins.
//!
//! A reply counts as sent once the operating system has accepted it. A peer that leaves without reading a reply loses
//! it. If that matters, let the protocol acknowledge replies.
//!
//! # Fairness
//!
//! A connection processes requests for up to 100 µs at a time. It then sends the replies that are ready, and yields to
//! other connections, timers and signals, so a peer that never stops sending does not starve them. A single call is
//! never interrupted: use the option `blocking` for a long computation.
//!
//! # Memory
//!
//! Buffers grow with the bytes that arrive. Each thread keeps up to 4 MiB of unused buffers (up to 14 MiB if they have
//! grown to different sizes), 2 MiB for short messages, and one buffer between 128 KiB and 2 MiB. Other buffers of more
//! than 128 KiB are freed when their connection waits, but glibc may keep the freed memory. It keeps less with the
//! environment variable `MALLOC_MMAP_THRESHOLD_=131072`: see
//! [`SECURITY.md`](https://docs.rs/crate/tcs/latest/source/SECURITY.md).
//!
//! If the system has no memory for a large buffer, as with `ulimit -v`, a request or a connection ends, as above. Any
//! other failed allocation, including those of your code, ends the process.

// The design: ARCHITECTURE.md, "The life of a server's connection".

// The server and its settings, which are checked once and become the limits that each connection borrows.
pub(crate) mod builder;
mod limits;
mod mode;
mod process;
#[cfg(feature = "serde")]
mod server_settings;
mod settings;
mod time;

// Running: `unbound` binds the port, `bound` accepts until `stop` orders a drain.
mod bound;
mod run;
mod signals;
mod stop;
mod systemd;
mod thread;
mod unbound;

// Accepting: the acceptor takes a permit of `capacity`, asks the listeners, and admits or rejects peers.
mod accept_error;
mod acceptor;
mod addresses;
mod admission;
mod capacity;
mod descriptors;
mod handshakes;
mod listeners;
mod rejected;

// The connections, each in its own task, and their shared state. The registry wakes, stops and counts them.
mod connection;
mod probe;
mod registry;
mod shared;

// Observing: numbers, metrics, and a log that peers cannot flood.
mod log_limiter;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod metrics;
mod report;
mod tally;

#[cfg(test)]
mod models;

pub use bound::BoundServer;
pub use builder::Server;
pub use capacity::AtCapacity;
pub use mode::{Concurrent, Iterative, Mode, Once};
pub use report::{ByteCounts, ConnectionCounts, EventCounts, Report, RequestCounts};
#[cfg(feature = "serde")]
pub use server_settings::ServerSettings;
pub use signals::stop_signal;
pub use stop::ServerHandle;
pub use thread::ServerThread;
