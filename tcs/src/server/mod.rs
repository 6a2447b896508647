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
