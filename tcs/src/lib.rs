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
//! Put the attribute on a module to serve [several functions](macro@server_protocol#a-module-of-functions) as one
//! protocol, with a generated client that has a method for each.
//!
//! The crate root exports what most programs need; see the modules [`framing`], [`mod@format`], [`protocol`],
//! [`server`], [`client`] and [`transport`] for the rest. [Terms](#terms) are defined below. The README lists what to
//! consider in production, and the repository's `examples` folder has complete programs.
//!
//! # How do I …
//!
//! | a protocol | |
//! |---|---|
//! | serve lines of text, as for `nc` | `#[server_protocol(framing = tcs::framing::Lines)]`: see [`Lines`] |
//! | serve binary messages | `fn f(request: &[u8]) -> Vec<u8>`; for structs, a [format](#features) such as `Postcard` |
//! | share state, keep data for a connection | [parameters](macro@server_protocol#parameters) |
//! | send my own types | [features](#features) |
//! | serve several functions | [a module of functions](macro@server_protocol#a-module-of-functions) |
//! | choose the framing and the format, greet clients | [options](macro@server_protocol#options) |
//! | reject a request | [rejecting requests](#rejecting-requests) |
//! | run code around every request: measure, log, limit, authenticate | [`wrap`](protocol::wrap) in a [`Middleware`](protocol::Middleware) |
//! | use layers of `tower`, or serve a `tower::Service` | the module `protocol::tower`, with the feature `tower` |
//! | close the connection after a reply, or send no reply | [`Response`] |
//! | push or broadcast events | [conversations](protocol#conversations): [`Push`](protocol::Push), [`PushGroup`](protocol::PushGroup) |
//! | reply with many messages | [`Response::many`] for an iterator, also in a plain `fn`; [`Replies`](protocol::Replies) in an `async fn` or a module |
//! | receive a request in chunks | [`Requests`](protocol::Requests); at a client [`Connection::upload`] |
//! | keep a slow request from delaying later ones | [`concurrent`](macro@server_protocol#concurrent-requests), or the framing [`Multiplexed`](framing::Multiplexed) |
//! | take over a connection, as tunnels do | [`Response::upgrade`] |
//! | detect that the peer has left while a function waits | [`Closed`](protocol::Closed) |
//! | start TLS after a reply (STARTTLS) | [`Response::StartTls`] and [`Server::start_tls`](server::Server::start_tls); at a client `Connection::start_tls`, with the feature `tls` |
//! | speak an existing protocol | [an example](protocol#an-existing-protocol), and the [table of framings](framing) |
//! | write my own framing | [`Framing`](framing::Framing#examples) |
//! | write my own format | [an example](protocol#a-format-of-your-own) |
//! | test a protocol | [testing](protocol#testing) |
//! | simulate crashes, restarts and cut links in a test | [with `turmoil`](https://docs.rs/crate/tcs/latest/source/docs/guide/src/simulation.md) |
//!
//! | a server | |
//! |---|---|
//! | choose a server | [`ConcurrentServer`], [`IterativeServer`] or [`OnceServer`]: see the [table](server) |
//! | limit sizes and times | [limits](#limits) |
//! | hold many clients | [many connections](#many-connections) |
//! | serve on an existing runtime; know which thread runs a function | [threads](#threads) |
//! | run a function that blocks | [the option `blocking`](macro@server_protocol#options) |
//! | shut down gracefully, on a signal or in a test | [stopping](#stopping); to send a last event first, [`listen_until`](server::Server::listen_until) with [`stop_signal`](server::stop_signal) |
//! | see metrics | [metrics](server#metrics); [`ServerHandle::stats`](server::ServerHandle::stats) while it runs, and the [`Report`] when it has ended |
//! | read the log | [logging](server#logging) |
//! | know what happens on a panic | [panics](#panics) |
//! | know what happens when a peer leaves | [what becomes of a function](server#what-becomes-of-a-function) |
//! | withstand untrusted peers | [untrusted peers](#untrusted-peers) |
//! | serve TLS | [`transport`]: `Tls`, with the feature `tls` |
//! | require client certificates, and read them | `Tls::require_client_certificates`, `TlsInfo` |
//! | replace a certificate while the server runs | `Tls::reload` |
//! | serve a Unix socket, or several listeners at once | [`transport`] |
//! | accept connections of my own transport | [`Listener`](transport::Listener) |
//! | run code before the first byte of the protocol | [`Handshake`](transport::Handshake) |
//! | limit each client | for each address, `max_request_rate_per_address` and other [limits](#limits); for each user or connection, [`FromSession`](protocol::FromSession) or a [`Middleware`](protocol::Middleware), which see the session |
//! | reject unknown peers | [`on_accept`](server::Server::on_accept); by their requests, a [`Middleware`](protocol::Middleware) or [`FromContext`] |
//! | stay responsive under overload | [`max_queue_time`](server::Server::max_queue_time), and [Overload](https://docs.rs/crate/tcs/latest/source/docs/overload.md) |
//! | log as JSON | `examples/json_logs.rs` |
//! | see all of this in one program | `examples/production_server.rs` |
//! | end a long-running function when the server stops | [`Draining`](protocol::Draining) |
//! | know the client behind a load balancer | `ProxyHeader` in [`transport`], with the feature `proxy` |
//! | run under systemd, in a container, behind a load balancer; restart without downtime | [stopping](#stopping), and [Running a server](https://docs.rs/crate/tcs/latest/source/docs/deploy.md) |
//!
//! | a client | |
//! |---|---|
//! | call from many tasks, and reconnect after a restart of the server | [`Channel`] |
//! | call from threads, without `async` | [`blocking`] |
//! | send one request and exit | [`Client`] |
//! | send requests without waiting for each reply | [`Pipeline`], [`Channel`] |
//! | call a module of functions in production | `Client::over` a [`Channel`], as in [this example](client::ChannelOptions::on_connect), which logs in |
//! | log in, or receive the greeting, on each new connection | [`ChannelOptions::on_connect`](client::ChannelOptions::on_connect) |
//! | share one connection that is already open | [`Connection::into_channel`], which does not reconnect |
//! | use several servers, or several connections | [`address`](client::ChannelOptions::address), [`connections`](client::ChannelOptions::connections) of [`ChannelOptions`](client::ChannelOptions) |
//! | set timeouts and limits | [`ConnectOptions`](client::ConnectOptions) |
//! | limit a single call | [`Channel::deadline`], [`Connection::deadline`] |
//! | cancel a call | drop its future, with [`Multiplexed`](framing::Multiplexed) and functions that run [concurrently](macro@server_protocol#concurrent-requests) |
//! | receive pushed events | [`Channel::subscribe`], [`Connection::next_event`] |
//! | receive a streamed reply | [`Connection::stream`], [`Channel::stream`] |
//! | retry | a [`Channel`] does if the request was not executed; for idempotent requests, also [`Channel::idempotent`] and [`Channel::hedge`] |
//! | know whether a failed request was executed, and what to do | [`Error::execution`], and its [table](Error#what-to-do) |
//! | see whether connecting fails, and why | [`Channel::state`], [`Channel::watch`]; [metrics](client#logging-and-metrics) |
//! | see whether the server answers | a call with a [`deadline`](Channel::deadline) |
//! | know how long a call can take | [the steps of a call](Channel#how-long-a-call-can-take) |
//! | connect over TLS with a private root or a certificate of my own | `ClientTls` in [`transport`], with the feature `tls` |
//! | connect over TLS or to a Unix socket | an [`Address`](transport::Address) `tls://host:port` or `unix:/path` |
//! | connect over a transport of my own | [`ChannelOptions::over`](client::ChannelOptions::over), [`Connection::over`] |
//! | wrap calls in layers of `tower` | `Channel::service`, with the feature `tower` |
//! | test code that calls a server | [a stub](macro@server_protocol#tests-without-the-server) |
//!
//! # Choosing a client
//!
//! | client | connections | in flight | for |
//! |---|---|---|---|
//! | [`Channel`] | one or several; reconnects | many, from many tasks | an application |
//! | [`Connection`] | one, kept open | 1, or many with a [`Pipeline`] | one task; a protocol with state for each connection |
//! | [`Client`] | one for each exchange | 1 | a command, an occasional request |
//!
//! Use [`call`](Connection::call) to send a request and receive its reply, and [`exchange`](Connection::exchange) for a
//! [`ClientProtocol`], which also processes the reply.
//!
//! If functions wait, use the framing [`Multiplexed`] for channels: its replies may arrive in any order. A protocol
//! with a session also needs [`concurrent`](macro@server_protocol#concurrent-requests).
//!
//! # Threads
//!
//! Each connection is a task that processes its requests one at a time, unless the protocol has
//! [`concurrent`](macro@server_protocol#concurrent-requests) or [`Multiplexed`]. Functions of different connections
//! run in parallel on the worker threads of the runtime.
//!
//! | function | runs |
//! |---|---|
//! | `fn` | to completion on a worker thread. Other tasks of that thread wait, so return within about a millisecond |
//! | `async fn` | on a worker thread; after an `.await`, possibly on another one |
//! | with the option `blocking` | on a thread that may block ([`block_in_place`]). On a current-thread runtime, everything else waits |
//!
//! `run()` and `start()` create a multi-threaded runtime. To serve on an existing runtime, await
//! [`listen()`](server::Server::listen), or call [`bind()`](server::Server::bind) and spawn `listen()` as in the
//! example above. The runtime needs I/O and time ([`enable_all`]), and can run several servers.
//!
//! # Stopping
//!
//! `run()` and [`listen_until_signal`](server::Server::listen_until_signal) handle signals: Ctrl-C and SIGTERM stop the
//! server, and a second signal ends it immediately. The other methods install no signal handler. Stop their server with
//! a [`ServerHandle`](server::ServerHandle), or with a future ([`listen_until`](server::Server::listen_until)).
//! [`start()`](server::Server::start) is for programs that are not `async`: it serves on another thread.
//!
//! A stopped server drains. It accepts no more connections, closes idle ones with *going away*, waits up to a second
//! for the rest of a frame that has begun, and answers the requests in flight. After
//! [`drain_timeout`](server::Server::drain_timeout), it aborts what is left. `listen()` then returns the [`Report`],
//! which counts requests and connections by outcome. Idle connections close immediately, without waiting for their
//! peers, unless they have unread data ([`linger`](server::Server::linger)).
//!
//! Behind a load balancer, set [`lame_duck`](server::Server::lame_duck): the stopped server then keeps serving for this
//! time, and the load balancer notices the stop before the listeners close. A server has these phases:
//!
//! | phase | begins | new connections | [`ServerHandle::is_stopping`](server::ServerHandle::is_stopping) | [`Draining`](protocol::Draining) of functions |
//! |---|---|---|---|---|
//! | serving | when it listens | are accepted | `false` | not ready |
//! | lame-duck | when it is stopped | are accepted | `true` | not ready |
//! | draining | after `lame_duck` | are refused; open ones finish | `true` | ready |
//! | aborting | after `drain_timeout`, at a second signal, or at [`abort`](server::ServerHandle::abort) | are aborted | `true` | ready |
//!
//! # Limits
//!
//! Every wait for a peer and every buffer has a limit. A request that exceeds one is rejected with a text that names
//! the setting, if the framing can carry it. [docs/limits.md](https://docs.rs/crate/tcs/latest/source/docs/limits.md)
//! lists the defaults with their reasons, and how to tell that a limit was reached.
//!
//! | limits of | settings |
//! |---|---|
//! | messages and memory | [`max_frame_len`](server::Server::max_frame_len), [`max_reply_len`](server::Server::max_reply_len), [`memory_budget`](server::Server::memory_budget), [`max_push_queue`](server::Server::max_push_queue) |
//! | connections | [`max_connections`](server::Server::max_connections), [`max_connections_per_address`](server::Server::max_connections_per_address), [`max_connection_age`](server::Server::max_connection_age), [`max_requests_per_connection`](server::Server::max_requests_per_connection), [`handshake_timeout`](server::Server::handshake_timeout), [`idle_timeout`](server::Server::idle_timeout), [`keepalive_timeout`](server::Server::keepalive_timeout), [`linger`](server::Server::linger) |
//! | requests | [`frame_timeout`](server::Server::frame_timeout), [`request_timeout`](server::Server::request_timeout), [`half_close_timeout`](server::Server::half_close_timeout), [`write_timeout`](server::Server::write_timeout), [`max_queue_time`](server::Server::max_queue_time), [`max_pipelined_requests`](server::Server::max_pipelined_requests), [`max_in_flight_per_address`](server::Server::max_in_flight_per_address), [`max_request_rate_per_address`](server::Server::max_request_rate_per_address), [`max_blocking`](server::Server::max_blocking) |
//! | the stop of a server | [`lame_duck`](server::Server::lame_duck), [`drain_timeout`](server::Server::drain_timeout) |
//! | connections of clients | [`connect_timeout`](client::ConnectOptions::connect_timeout), [`reply_timeout`](client::ConnectOptions::reply_timeout), [`keepalive_timeout`](client::ConnectOptions::keepalive_timeout), [`max_frame_len`](client::ConnectOptions::max_frame_len), [`max_reply_len`](client::ConnectOptions::max_reply_len), [`max_in_flight`](client::ConnectOptions::max_in_flight), [`max_queued_events`](client::ConnectOptions::max_queued_events) |
//! | channels | [`deadline`](client::ChannelOptions::deadline), [`idle_timeout`](client::ChannelOptions::idle_timeout), [`ping_interval`](client::ChannelOptions::ping_interval), [`max_age`](client::ChannelOptions::max_age), [`backoff`](client::ChannelOptions::backoff), [`retries`](client::ChannelOptions::retries) |
//!
//! # Many connections
//!
//! To hold more than 1,024 connections, raise [`max_connections`](server::Server::max_connections), and raise the
//! descriptor limit (`ulimit -n`, or systemd's `LimitNOFILE`) above it. A connection that waits for a request holds no
//! buffers and takes about 1.3 KB ([measured](https://docs.rs/crate/tcs/latest/source/docs/performance.md)), plus the
//! operating system's socket. A connection that is idle for 300 s is closed, unless you set `idle_timeout(None)`.
//!
//! # Untrusted peers
//!
//! By default, every wait for a peer and every buffer has a [limit](#limits), one address cannot take all connections,
//! and a peer that sends without a pause does not starve others. Nothing is encrypted or authenticated by default: use
//! TLS, and authenticate in your protocol. If clients may send more requests than the server can process, set
//! [`max_queue_time`](server::Server::max_queue_time).
//! [SECURITY.md](https://docs.rs/crate/tcs/latest/source/SECURITY.md) lists who can send what, what protects the
//! server, and what does not.
//!
//! # Rejecting requests
//!
//! | where | write | the [kind](RejectionKind) of the rejection |
//! |---|---|---|
//! | in the function | `Err(error)` | [`Error`](RejectionKind::Error) with the text of `error`. Of a [`Rejection`], only the text is sent, not the kind |
//! | before the function | a parameter whose [`FromContext`] returns a [`Rejection`] | that of the [`Rejection`] |
//! | in a [`ServerProtocol`] that you implement | `Err(rejection)` | that of the [`Rejection`] |
//!
//! [`LengthPrefixed`] and [`Multiplexed`] send a rejection in a control frame. With any other framing, the server sends
//! the earlier replies and closes the connection, unless the rejection is an [`Err` of the
//! function](#an-err-of-the-function). To send a message of your protocol instead, use
//! [`reject_with`](macro@server_protocol#custom-rejection-messages).
//!
//! ## An `Err` of the function
//!
//! The format and the framing decide what an `Err` is:
//!
//! | format and framing | the server sends | [`call`](Connection::call) returns |
//! |---|---|---|
//! | [`Plain`] with [`LengthPrefixed`] or [`Multiplexed`] | a control frame | an [`Error`] with the [`Rejection`] |
//! | [`Plain`] with any other framing | the text, as the reply | `Ok` with the text; an [`Error`] if the text is not a `T` |
//! | `Json`, `Postcard`, `MessagePack` | the `Result`, as the reply | `Ok` with the `Result` |
//! | `Codec<C>` | nothing, and closes the connection | an [`Error`] of the kind [`Closed`](ErrorKind::Closed) |
//!
//! `Protobuf` has no `Result`. If the protocol has `reject_with`, its message is sent in the second and the fourth case.
//!
//! ## What the client and the report say
//!
//! With [`LengthPrefixed`] and [`Multiplexed`], the client's error has the kind [`Rejected`](ErrorKind::Rejected) and
//! contains the [`Rejection`]:
//!
//! | event | kind of the rejection | [`execution`](Error::execution) | in the [`Report`] |
//! |---|---|---|---|
//! | the function returns `Err` in [`Plain`] | [`Error`](RejectionKind::Error) | [`Executed`](Execution::Executed) | `served` |
//! | the function panics | [`Failed`](RejectionKind::Failed) | [`Executed`](Execution::Executed) | `failed` |
//! | the function exceeds `request_timeout` | [`TimedOut`](RejectionKind::TimedOut) | [`Executed`](Execution::Executed) | `failed` |
//! | the client has cancelled the request | [`Cancelled`](RejectionKind::Cancelled) | [`Unknown`](Execution::Unknown) | `failed` |
//! | the request is invalid | [`BadRequest`](RejectionKind::BadRequest) | [`NotExecuted`](Execution::NotExecuted) | `rejected` |
//! | the server is busy | [`Busy`](RejectionKind::Busy) | [`NotExecuted`](Execution::NotExecuted) | `rejected` |
//!
//! With other framings, the report is the same, but the client's error has the kind [`Closed`](ErrorKind::Closed) and
//! the execution [`Unknown`](Execution::Unknown), except for an `Err`, as above. `examples/rejections.rs` prints all
//! cases.
//!
//! # Errors
//!
//! The functions of this library return an [`Error`]. Its [`kind`](Error::kind) says what went wrong, and
//! [`execution`](Error::execution) whether the failed request was executed. Use [`is_retryable`](Error::is_retryable)
//! to decide whether to send it again, and [`is_connection_lost`](Error::is_connection_lost) whether to reconnect.
//! [What to do](Error#what-to-do) lists all cases.
//!
//! A server sends the error of a connection to its peer and logs it with `tracing`. [Other
//! connections](server#what-each-error-ends) are not affected.
//!
//! # Panics
//!
//! If a protocol function panics, its request fails: the peer receives *failed*, and the panic message is logged, not
//! sent. The connection closes if its framing cannot report the failure. It also closes if the protocol has a session
//! but no `concurrent`, because the session may be half changed. Other connections are not affected. A
//! `std::sync::Mutex` that the function had locked is poisoned. With `panic = "abort"`, a panic ends the process.
//!
//! Your program's panic hook runs before the panic is logged. The default hook writes the message to stderr without
//! escaping what it quotes from a peer. Your own hook can escape it:
//!
//! ```
//! std::panic::set_hook(Box::new(|panic| {
//!     let text = panic.payload_as_str().unwrap_or("no text");
//!     let location = panic.location().map(ToString::to_string);
//!     eprintln!("panic at {}: {text:?}", location.unwrap_or_default());
//! }));
//! ```
//!
//! The hook may also do nothing, because the library logs the panic.
//!
//! # Cancel safety
//!
//! The documentation of each `async fn` says what dropping its future does. In short:
//!
//! - A dropped server closes its listener and aborts its connections.
//! - A [`call`](Connection::call) that is dropped or times out never takes the reply of another call. If its request
//!   was sent, the server still executes it, later requests on the same connection wait for it, and its reply is
//!   discarded. With [`Multiplexed`], the request is cancelled instead.
//! - A server drops a function that waits if its peer leaves or a limit passes: see [what becomes of a
//!   function](server#what-becomes-of-a-function).
//!
//! # Features
//!
//! No feature is enabled by default.
//!
//! | feature | adds |
//! |---|---|
//! | `json`, `postcard`, `messagepack`, `protobuf` | the formats in the table below |
//! | `codec` | [`framing`]`::Codec`, which makes any codec of `tokio_util` a framing and a format |
//! | `metrics` | metrics of [servers](server#metrics) and [channels](client#logging-and-metrics) |
//! | `tls` | TLS: [`transport`]`::Tls` for servers; `ClientTls` and addresses `tls://host:port` for clients |
//! | `self-signed` | `transport::create_self_signed`, a certificate for development |
//! | `proxy` | `transport::ProxyHeader`, for a server behind a load balancer |
//! | `serde` | [`server`]`::ServerSettings`: the settings of a server from a file or the environment |
//! | `stream` | streamed replies and pushed events of clients as `futures_core::Stream` |
//! | `systemd` | `transport::systemd_sockets`, and `notify_systemd` of a server |
//! | `testing` | the module `testing`: a server in memory, scripted peers, faults of networks, for tests |
//! | `tower` | the module `protocol::tower`: layers around protocols, protocols as services, and services as protocols; `Channel::service`: channels as services |
//!
//! | feature | format | messages | use it for |
//! |---|---|---|---|
//! | – | [`Plain`] | text, bytes, and types with `Display` and `FromStr` | text, and bytes that are already encoded |
//! | `json` | `Json` | serde's types | any language, and people |
//! | `postcard` | `Postcard` | serde's types | Rust programs: the fewest bytes and instructions |
//! | `messagepack` | `MessagePack` | serde's types | any language, with fewer bytes than JSON |
//! | `protobuf` | `Protobuf` | `prost`'s messages | contracts in `.proto` files |
//! | `codec` | `Codec<C>` | the codec's items | existing codecs |
//!
//! With the feature `json`, and serde with its feature `derive`, your own type can be a message:
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
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | protocol | a type that implements [`ServerProtocol`] or [`ClientProtocol`], usually through an attribute: its messages, and a function that processes them |
//! | framing | how the byte stream is split into messages; [`LengthPrefixed`] by default ([`Framing`]) |
//! | format | how a message is encoded; [`Plain`] by default ([`Encode`], [`Decode`]) |
//! | message | a request, reply, greeting, event, item or chunk |
//! | frame | a message together with its length or delimiter |
//! | control frame | a frame of [`LengthPrefixed`] or [`Multiplexed`] that carries a rejection, or a *notice*, which readers may ignore |
//! | in flight | of a server's request: received but not answered; of a client's: queued or sent, without a reply yet |
//! | exchange | one request and its reply |
//! | channel | a client that many tasks share and that reconnects: a [`Channel`] |
//! | contract | what a client must know about a protocol: its messages, framing and format ([`Contract`](protocol::Contract)) |
//! | extractor | a parameter type that takes its value from the connection: [`FromContext`](protocol::FromContext), [`FromSession`](protocol::FromSession) |
//! | event | a message that the server sends without a request ([`Push`](protocol::Push)) |
//! | member | a connection that receives the events of a [`PushGroup`](protocol::PushGroup) |
//! | item, chunk | one message of a streamed reply ([`Replies`](protocol::Replies)); one message of a request in chunks ([`Requests`](protocol::Requests)) |
//! | operation | one function of a module that is a protocol; each request names its operation |
//! | idempotent | safe to execute more than once, such as a function that only reads |
//! | hedge | to send an idempotent request again over another connection when its reply is slow; the first reply wins |
//! | rejection | why a request gets no reply, or why the server closes the connection: a [`Rejection`] of a kind such as *failed* |
//! | final rejection | a rejection that closes its connection, such as *going away* |
//! | outcome | how a request ended in the [`Report`] and the metrics: `served` (also with an `Err`), `failed` (also *timed out* and *cancelled*), `rejected` or `aborted` |
//! | session | the data that a server keeps for one connection |
//! | peer | the other end of a connection: a [`Peer`], with details from its transport, such as a certificate |
//! | transport | what carries the bytes: TCP, TLS, a Unix socket or your own ([`transport`]) |
//! | listener, handshake | what accepts connections; what runs on one before the protocol, such as TLS |
//! | drop, abort | a function is dropped at the `.await` where it waits; an aborted request or connection gets a rejection at most, and no reply |
//! | drain | graceful shutdown of a server, or of a connection at its maximum age: requests in flight are answered, idle connections closed |
//! | lame-duck phase | the time in which a stopped server keeps serving, so that load balancers notice |
//! | backlog | connections that the operating system holds until the server accepts them |
//! | PROXY header | the client's address, which a load balancer sends before the first byte of the protocol |
//!
//! # What is not stable
//!
//! Before 1.0, a new second version number may break programs. `CHANGELOG.md` lists the changes, and `WIRE.md` specifies
//! each framing and format. Reserved kinds of control frames may get a meaning; the others will not change. The hidden
//! module `__private` is for the attributes only.
//!
//! [`ClientProtocol`]: protocol::ClientProtocol
//! [`Decode`]: format::Decode
//! [`Encode`]: format::Encode
//! [`Framing`]: framing::Framing
//! [`FromContext`]: protocol::FromContext
//! [`LengthPrefixed`]: framing::LengthPrefixed
//! [`Lines`]: framing::Lines
//! [`Multiplexed`]: framing::Multiplexed
//! [`Pipeline`]: client::Pipeline
//! [`Plain`]: format::Plain
//! [`Report`]: server::Report
//! [`ServerProtocol`]: protocol::ServerProtocol
//! [`block_in_place`]: tokio::task::block_in_place
//! [`enable_all`]: tokio::runtime::Builder::enable_all
//! [`listen()`]: server::Server::listen
//! [`serve_stream`]: server::Server::serve_stream

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

pub mod blocking;
mod blocking_permits;
mod buffer;
mod checks;
pub mod client;
mod codel;
mod context;
mod conversation;
mod deadline;
mod draining;
mod error;
pub mod format;
pub mod framing;
mod from_session;
mod middleware;
#[cfg(test)]
mod models;
mod panics;
mod peer;
pub mod protocol;
mod rejection;
mod response;
mod runtime;
pub mod server;
mod socket;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
pub mod transport;

#[doc(hidden)]
#[path = "macro_support/mod.rs"]
pub mod __private;

pub use client::{channel::Channel, connection::Connection, one_shot::Client};
pub use context::ConnectionInfo;
pub(crate) use context::FromContext;
pub use error::{Error, ErrorKind, Execution, Result};
pub use peer::Peer;
pub use rejection::{Rejection, RejectionKind};
pub use response::Response;
pub use server::builder::{ConcurrentServer, IterativeServer, OnceServer};
#[doc = include_str!("attributes/client_protocol.md")]
pub use tcs_macros::client_protocol;
#[doc = include_str!("attributes/server_protocol.md")]
pub use tcs_macros::server_protocol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/protocols.md")]
struct Protocols;

#[cfg(all(doctest, unix, feature = "proxy", feature = "systemd"))]
#[doc = include_str!("../docs/deploy.md")]
struct Deploy;
