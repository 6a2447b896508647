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
//!
//! # Logging
//!
//! The library logs with `tracing`. Install a subscriber to see the log, such as `tracing_subscriber::fmt().init()`.
//!
//! | level | events |
//! |---|---|
//! | `ERROR` | a server that cannot listen, panics, replies that cannot be sent, no descriptors for a new connection |
//! | `WARN` | limits that the system lowers, a server that is full (`max_connections`), requests that a stop aborts |
//! | `INFO` | the start, the stop with its report, connections closed without telling the peer why |
//! | `DEBUG` | each connection, all other rejections, idle connections, peers of other protocols |
//!
//! These names do not change without a note in `CHANGELOG.md`:
//!
//! | span or event | level | fields |
//! |---|---|---|
//! | span `connection`, around the events of a connection | `INFO` | `peer`; `id`, as [`ConnectionInfo::id`](crate::ConnectionInfo::id) |
//! | span `handshake`, around those of its handshakes | `INFO` | `peer`, as it was accepted; `id` |
//! | `listening` | `INFO` | `listeners`, `max_connections` |
//! | `the server does not listen` | `ERROR` | `error` with its causes |
//! | `connected`, after the handshakes | `DEBUG` | `local_addr`, if there is one |
//! | `closing the connection` | `DEBUG` | `reason`: the [`Rejection`](crate::Rejection), which is sent to the peer if the framing can carry it |
//! | `answered with a rejection` | `DEBUG` | `reason`, with the name of the setting if it was a limit |
//! | `a connection is rejected` | `DEBUG` | `peer`, `reason` |
//! | `closing the connection without a message` | `INFO` | `reason` |
//! | `disconnected` | `DEBUG` | `reason`, such as `the peer has closed`; `requests`, `bytes_received`, `bytes_sent`; `events`, if it could be pushed to; `seconds` since it was accepted |
//! | `a handshake has failed` | `INFO` | `peer`, as the last handshake has left it; `reason` |
//! | `the processing of a request panicked` | `ERROR` | `panic`: the text |
//! | `stopped` | `INFO`, or `WARN` if requests were aborted | `report` |
//!
//! At `INFO` and above, a server logs each kind of event that a peer can cause at most once per second. It logs the
//! rest at `DEBUG`, and adds their number to the next line as `left_out`. Single requests are not logged, because even
//! disabled logging would slow each of them down: [count](ServerHandle::stats) them, or wrap the protocol in
//! [`TraceRequests`](crate::protocol::TraceRequests).
//!
//! Control characters in text from peers and from your errors are escaped, so no field contains a line feed or an
//! escape sequence.
//!
//! # Metrics
//!
//! With the feature `metrics`, servers and [channels](crate::client#logging-and-metrics) publish metrics through the
//! crate `metrics`. Install a recorder for `metrics` 0.24, such as `metrics-exporter-prometheus` 0.18, before you call
//! `bind()`, [`listen()`](Server::listen) or `run()`, and before you create a channel. The metrics of all servers in a
//! program add up, and so do those of all channels.
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `tcs_connections_open` | gauge | connections that are open |
//! | `tcs_connections_accepted_total` | counter | accepted connections |
//! | `tcs_connections_ended_total` | counter | ended connections, by `outcome`: `closed` or `aborted`, as in the [`Report`] |
//! | `tcs_connection_duration_seconds` | histogram | the time from the accept of a connection to its end |
//! | `tcs_handshakes_failed_total` | counter | connections whose handshake has failed |
//! | `tcs_requests_in_flight` | gauge | requests that are not answered yet |
//! | `tcs_requests_received_total` | counter | received requests |
//! | `tcs_requests_total` | counter | requests that are done, by `outcome`: `served` (also with an `Err`), `failed`, `rejected` or `aborted`, as in the [`Report`] |
//! | `tcs_calls_total` | counter | requests whose extractors ran or whose function was called, by `outcome`: `served`, `failed`, `rejected`, `panicked`, or `dropped` before the function returned |
//! | `tcs_queue_duration_seconds` | histogram | the time from the read of a request to its call, without the wait for a permit of `max_blocking` |
//! | `tcs_request_duration_seconds` | histogram | the time from the call of a function until its reply is encoded or it is dropped, including all waits; not if it panics |
//! | `tcs_rejections_total` | counter | rejections of requests and connections, by `kind`: the name of the [`RejectionKind`](crate::RejectionKind), which appears with its first rejection |
//! | `tcs_received_bytes_total` | counter | bytes of frames that were received, without those of TLS |
//! | `tcs_sent_bytes_total` | counter | bytes of frames that were sent |
//! | `tcs_events_total` | counter | pushed events, by `outcome`: `sent` or `dropped`, as in the [`Report`] |
//! | `tcs_buffer_bytes` | gauge | the part of `memory_budget` that large buffers and event queues hold |
//!
//! A server publishes its totals and gauges once per second, so they cost requests nothing. If the protocol is a module,
//! `tcs_calls_total` and `tcs_request_duration_seconds` have the label `operation`. Only the two durations are recorded
//! for each request: they read the clock twice for each request, and once for each read.
//!
//! `tcs_calls_total` ignores what happens after a reply is encoded. If the framing cannot carry the reply of a protocol
//! with `concurrent`, the call counts as *served* there, and as *failed* in `tcs_requests_total`.
//!
//! Without the feature, [`ServerHandle::stats`] returns the totals and gauges, as
//! `examples/prometheus.rs` shows.

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
