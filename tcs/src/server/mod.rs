//! The servers, their settings and their reports.
//!
//! The three servers differ in how many connections they serve at a time, and in when they return.
//!
//! | type | connections at a time | returns when |
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
//! A function cannot be interrupted while it computes or runs under `blocking`. An `async` function
//! is dropped at the `.await` where it waits:
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
//! The limit `request_timeout` of a function with [`Replies`](crate::protocol::Replies) is for each item. A function that takes
//! [`Closed`](crate::protocol::Closed) as a parameter knows when its peer has closed, and can return before it is dropped.
//!
//! A server that is stopped drains at once, or after [`lame_duck`](Server::lame_duck). A function that takes
//! [`Draining`](crate::protocol::Draining) as a parameter knows when the drain begins, and can return before it is dropped.
//!
//! A reply counts as sent once the operating system has accepted it. A peer that leaves without reading a reply loses
//! it. If that matters, have the protocol acknowledge replies.
//!
//! # Fairness
//!
//! A connection processes requests for up to 100 µs at a time. It then sends the replies that are
//! ready, and yields to other connections, timers and signals. So the first replies to many
//! requests do not wait for the last, and a peer that never stops sending does not starve others. A
//! single call is never interrupted: run a function that computes for long under `blocking`.
//!
//! # Memory
//!
//! Buffers grow with the bytes that arrive. Each thread keeps up to 4 MiB of unused buffers for further requests,
//! up to 14 MiB if they have grown to different sizes, 2 MiB for short messages, and one buffer between 128 KiB and 2 MiB.
//! Other buffers of more than 128 KiB are freed when their connection waits, but glibc can keep freed memory. With the
//! environment variable `MALLOC_MMAP_THRESHOLD_=131072`, glibc keeps less: see
//! [`SECURITY.md`](https://docs.rs/crate/tcs/latest/source/SECURITY.md).
//!
//! If the system has no memory for a large buffer, as with `ulimit -v`, that ends a request or a connection, as above.
//! An allocation that fails anywhere else, also in your code and for the values that it takes, ends the process.
//!
//! # Logging
//!
//! The library logs with `tracing`. It installs no subscriber: install one, such as
//! `tracing_subscriber::fmt().init()`. [Channels](crate::client#logging-and-metrics) have events of their own.
//!
//! | level | events |
//! |---|---|
//! | `ERROR` | a server that cannot listen, panics, replies that cannot be sent, no descriptors for a new connection |
//! | `WARN` | limits that the system lowers, a server that is full (`max_connections`), requests that a stop aborts |
//! | `INFO` | the start, the stop with its report, connections that are closed without telling the peer why |
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
//! | `closing the connection` | `DEBUG` | `reason`: the [`Rejection`](crate::Rejection) that the peer is told, if the framing can carry it |
//! | `answered with a rejection` | `DEBUG` | `reason`, with the name of the setting if it was a limit |
//! | `a connection is rejected` | `DEBUG` | `peer`, `reason` |
//! | `closing the connection without a message` | `INFO` | `reason` |
//! | `disconnected` | `DEBUG` | `reason`, such as `the peer has closed`; `requests`, `bytes_received`, `bytes_sent`; `events`, if it could be pushed to; `seconds` since it was accepted |
//! | `a handshake has failed` | `INFO` | `peer`, as the last handshake has left it; `reason` |
//! | `the processing of a request panicked` | `ERROR` | `panic`: the text |
//! | `stopped` | `INFO`, or `WARN` if requests were aborted | `report` |
//!
//! A server logs an event that a peer can cause once per second at `INFO` and above. In between, it logs further events
//! with this message at `DEBUG`, and the next line has their number as `left_out`. Requests are not logged one by one,
//! because that would cost each of them time even when it is off. [Count](ServerHandle::stats) them, or wrap the
//! protocol in [`TraceRequests`](crate::protocol::TraceRequests).
//!
//! Control characters in the text of peers, and of your own errors, are escaped: no field contains a line feed or an
//! escape sequence.
//!
//! # Metrics
//!
//! With the feature `metrics`, servers publish metrics through the crate `metrics`, and so do
//! [channels](crate::client#logging-and-metrics). The library installs no recorder: install one, such as that of
//! `metrics-exporter-prometheus` 0.18 (it must be one for `metrics` 0.24), before you call `bind()`,
//! [`listen()`](Server::listen) or `run()`. The metrics of several servers in a program add up.
//!
//! | name | kind | is |
//! |---|---|---|
//! | `tcs_connections_open` | gauge | connections that are open |
//! | `tcs_connections_accepted_total` | counter | accepted connections |
//! | `tcs_connections_ended_total` | counter | ended connections, by `outcome`: `closed` or `aborted`, as in the [`Report`] |
//! | `tcs_connection_duration_seconds` | histogram | the time from the accept of a connection to its end |
//! | `tcs_handshakes_failed_total` | counter | connections whose handshake has failed |
//! | `tcs_requests_in_flight` | gauge | requests that are not answered yet |
//! | `tcs_requests_received_total` | counter | received requests |
//! | `tcs_requests_total` | counter | requests that are done, by `outcome`: `served`, `failed`, `rejected` or `aborted` |
//! | `tcs_calls_total` | counter | requests whose parameters were taken or whose function was called, by `outcome`: `served`, `failed`, `rejected`, `panicked`, or `dropped` before the function returned |
//! | `tcs_queue_duration_seconds` | histogram | the time from the read of a request to its call. The wait for a permit of `max_blocking` is in the next one |
//! | `tcs_request_duration_seconds` | histogram | the time from the call of the function until its reply is encoded or it is dropped, with its waits; not if it panics |
//! | `tcs_rejections_total` | counter | rejected requests and connections, by `kind`: the text of the [`RejectionKind`](crate::RejectionKind) |
//! | `tcs_received_bytes_total` | counter | bytes of frames that were received, without those of TLS |
//! | `tcs_sent_bytes_total` | counter | bytes of frames that were sent |
//! | `tcs_events_total` | counter | pushed events, by `outcome`: `sent` or `dropped`, as in the [`Report`] |
//! | `tcs_buffer_bytes` | gauge | what large buffers and queues of events have of the `memory_budget` |
//!
//! The totals and gauges are published once per second, so requests do not pay for them. `tcs_calls_total` and
//! `tcs_request_duration_seconds` have the label `operation` if the protocol is a module. Only the two durations are
//! recorded for each request, which takes two looks at the clock, and one for each read. What happens to a reply after
//! it is encoded changes nothing in `tcs_calls_total`. So a call with the option `concurrent` was *served* even if its
//! framing cannot carry the reply, and its request has *failed*.
//!
//! Without the feature, [`ServerHandle::stats`] has the totals and gauges as plain numbers:
//! `examples/prometheus.rs` serves them as text.

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
