//! Servers: the same loop, for as long and as many at a time as their type says.
//!
//! | type | connections at a time | returns when |
//! |---|---|---|
//! | [`OnceServer`] | one request; connections that end before a byte of one are ignored | that request is answered or refused |
//! | [`IterativeServer`] | one, others wait in the backlog | stopped |
//! | [`ConcurrentServer`] | up to [`max_connections`](Server::max_connections), each in a task of its own | stopped |
//!
//! # Which errors end what
//!
//! | error | ends |
//! |---|---|
//! | a request that cannot be decoded, is too large, or is refused; a function that panics | that request, and the connection where the framing cannot tell the peer |
//! | bytes that are no frames, a limit that is over, a reset | that connection |
//! | no descriptors or memory for a new connection | nothing: it is tried again every 100 ms |
//! | the listener is dead | the server, after a drain |

//! # What becomes of a function
//!
//! A function that computes, or is `blocking`, cannot be interrupted. An `async` one is dropped where it
//! waits:
//!
//! | event | a function that waits is dropped | one that computes or blocks ends first |
//! |---|---|---|
//! | the peer resets the connection | at once | then no further request is begun |
//! | the peer closes its sending half, or the whole connection in good order | after [`half_close_timeout`](Server::half_close_timeout) (30 s), at once with `half_close = ends` | its reply is sent |
//! | the peer does not read | when earlier replies wait longer than [`write_timeout`](Server::write_timeout) (30 s) | its reply is sent, within the same limit |
//! | the function takes longer than [`request_timeout`](Server::request_timeout) (none) | at once; the peer is told *timed out* | its reply is sent |
//! | the server stops | after [`drain_timeout`](Server::drain_timeout) (30 s) | the report counts its request as cut |
//!
//! That a reply was sent means that the operating system took it. A peer that leaves without reading
//! loses it: where that matters, have the protocol acknowledge.
//!
//! # Fairness
//!
//! A connection processes requests for 100 µs at a time. Then it sends the replies that are ready, and lets
//! other connections, timers and signals have their turn. So the first replies to many requests do not
//! wait for the last, and a peer that never stops asking does not starve others. A single call is never
//! interrupted: a function that computes for long belongs under `blocking`.

mod acceptor;
mod bound;
mod builder;
mod config;
mod connection;
mod registry;
mod report;
mod run;
mod shared;
mod spawn;
mod stop;

pub use bound::BoundServer;
pub use builder::{ConcurrentServer, IterativeServer, OnceServer, Server};
pub use config::{Concurrent, Iterative, Mode, Once};
pub use report::{Connections, Report, Requests};
pub use run::ServerThread;
pub use stop::{ServerHandle, stop_signal};
