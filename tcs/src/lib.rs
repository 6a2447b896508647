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
//! On a module of functions, [`#[server_protocol]`](macro@server_protocol#a-module-of-functions)
//! makes one protocol of all of them, and a client with a method for each.
//!
//! The root of the crate has what most programs need. The modules [`framing`], [`mod@format`],
//! [`protocol`], [`server`], [`client`] and [`transport`] have the rest. [`server_protocol`](macro@server_protocol#parameters)
//! shows what a function can do. The README, which is in the package, says what to consider in production, and the
//! folder `examples` of the repository has whole programs.
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | protocol | a type with [`ServerProtocol`] or [`ClientProtocol`], which the attributes implement: messages, and a function that processes them |
//! | framing | how the byte stream is split into messages: [`LengthPrefixed`], unless you choose another [`Framing`] |
//! | format | how a message is encoded: [`Plain`], unless you choose another one ([`Encode`], [`Decode`]) |
//! | message | a request, a reply, a greeting, an event, an item or a chunk |
//! | frame | a message with its length or delimiter |
//! | control frame | a frame of [`LengthPrefixed`] or [`Multiplexed`] with a rejection in place of a message, or a *notice*, which readers may skip |
//! | in flight | at a server: received and not answered; at a client: sent or queued, without a reply yet |
//! | exchange | one request and its reply |
//! | channel | a client that many tasks share, with one or several connections that it makes again when they end: a [`Channel`] |
//! | contract | what a client must know of a protocol: its messages, framing and format ([`Contract`](protocol::Contract)); the attributes implement it |
//! | extractor | a parameter whose type takes its value from the connection: [`FromContext`](protocol::FromContext), [`FromSession`](protocol::FromSession) |
//! | event | a message that the server sends without a request ([`Push`](protocol::Push)); a *member* of a [`PushGroup`](protocol::PushGroup) is a connection that receives its events |
//! | item, chunk | one of several messages of a reply ([`Replies`](protocol::Replies)); one of several messages of a request ([`Requests`](protocol::Requests)) |
//! | operation | a function of a module that is one protocol; each request names the operation that it calls |
//! | idempotent | safe to execute more than once, as a function that only reads |
//! | hedge | to send an idempotent request a second time, over another connection, if its reply takes long; the first reply is used |
//! | rejection | the reason why a request gets no reply, or why the server closes the connection: a [`Rejection`] |
//! | session | the data that a server keeps for one connection |
//! | peer | the other end of a connection: a [`Peer`], with the *facts* that its transport knows of it, such as a certificate |
//! | transport, listener, handshake | what carries the bytes; what accepts connections; what runs before the protocol, such as TLS: see [`transport`] |
//! | final | a rejection that closes its connection, such as *going away* |
//! | drop, abort | a function is dropped at the `.await` where it waits; a request or a connection is aborted without a reply |
//! | drain | graceful shutdown, of a server or of a connection at its maximum age: requests in flight are answered, idle connections are closed |
//! | lame duck | a server between its stop and its drain, which still serves, so that a balancer sees the stop |
//! | backlog | the connections that the operating system has for a server that does not accept them yet |
//! | PROXY header | the address of its client, which a balancer sends before the first byte of the protocol |
//!
//! # How do I …
//!
//! | a protocol | |
//! |---|---|
//! | serve lines of text, for `nc` | `#[server_protocol(framing = tcs::framing::Lines)]`: see [`Lines`] |
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
//! | reply with many messages | [`Response::many`] for an iterator, also in a plain `fn`; [`Replies`](protocol::Replies) for what waits, and in a module |
//! | receive a request in chunks | [`Requests`](protocol::Requests); at a client [`Connection::upload`] |
//! | not let a slow request hold up those after it | [`concurrent`](macro@server_protocol#requests-side-by-side), or the framing [`Multiplexed`](framing::Multiplexed) |
//! | take a connection over, as tunnels do | [`Response::upgrade`] |
//! | know that the peer has closed while a function waits | [`Closed`](protocol::Closed) |
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
//! | serve on the runtime of my program | [threads](#threads) |
//! | know on which thread a function runs | [threads](#threads) |
//! | run a function that blocks | [the option `blocking`](macro@server_protocol#options) |
//! | stop, on a signal or in a test (graceful shutdown) | [stopping](#stopping); with a last word, [`listen_until`](server::Server::listen_until) and [`stop_signal`](server::stop_signal) |
//! | see metrics | [`ServerHandle::stats`](server::ServerHandle::stats) while it runs, and the [`Report`] when it has ended; [metrics](#metrics) |
//! | read the log | [logging](#logging) |
//! | know what happens on a panic | [panics](#panics) |
//! | know what happens when a peer leaves | [what becomes of a function](server#what-becomes-of-a-function) |
//! | know what a peer can do to me | [untrusted peers](#untrusted-peers) |
//! | serve TLS | [`transport`]: `Tls`, with the feature `tls` |
//! | require client certificates, and read them | `Tls::require_client_certificates`, `TlsInfo` |
//! | replace a certificate while the server runs | `Tls::reload` |
//! | serve a Unix socket, or several listeners at a time | [`transport`] |
//! | accept from a transport of my own | [`Listener`](transport::Listener) |
//! | run code before the first byte of the protocol | [`Handshake`](transport::Handshake) |
//! | limit what one client can ask | for each address, `max_request_rate_per_address` and other [limits](#limits); for each user or connection, [`FromSession`](protocol::FromSession) or a [`Middleware`](protocol::Middleware), which see the session |
//! | reject unknown peers | [`on_accept`](server::Server::on_accept); by their requests, a [`Middleware`](protocol::Middleware) or [`FromContext`] |
//! | stay useful with too many requests | [`max_queue_time`](server::Server::max_queue_time), and [Overload](https://docs.rs/crate/tcs/latest/source/docs/overload.md) |
//! | log as JSON | `examples/json_logs.rs` |
//! | see all of this in one program | `examples/production_server.rs` |
//! | end a function that runs for long when the server stops | [`Draining`](protocol::Draining) |
//! | know the client behind a balancer | `ProxyHeader` in [`transport`], with the feature `proxy` |
//! | run under systemd, in a container, behind a balancer; restart without downtime | [stopping](#stopping), and [Running a server](https://docs.rs/crate/tcs/latest/source/docs/deploy.md) |
//!
//! | a client | |
//! |---|---|
//! | call from the tasks of an application, also after the server was restarted | [`Channel`] |
//! | call from threads, without `async` | [`blocking`] |
//! | send one request and exit | [`Client`] |
//! | send requests without waiting for each reply | [`Pipeline`], [`Channel`] |
//! | call a module of functions in production | its `Client::over` a [`Channel`]: see [this example](client::ChannelOptions::on_connect), which logs in |
//! | log in, or receive the greeting, on each new connection | [`ChannelOptions::on_connect`](client::ChannelOptions::on_connect) |
//! | share one connection that is already open | [`Connection::into_channel`], which does not reconnect |
//! | use several servers, or several connections | [`address`](client::ChannelOptions::address), [`connections`](client::ChannelOptions::connections) of [`ChannelOptions`](client::ChannelOptions) |
//! | set timeouts and limits | [`ConnectOptions`](client::ConnectOptions) |
//! | limit a single call | [`Channel::deadline`], [`Connection::deadline`] |
//! | cancel a call | drop its future, with [`Multiplexed`](framing::Multiplexed) and functions that run [side by side](macro@server_protocol#requests-side-by-side) |
//! | receive pushed events | [`Channel::subscribe`], [`Connection::next_event`] |
//! | receive a streamed reply | [`Connection::stream`], [`Channel::stream`] |
//! | try again | a [`Channel`] does, if the request was not executed; [`Channel::idempotent`], and [`Channel::hedge`] with it, if it is safe to execute more than once |
//! | know whether a failed request was executed, and what to do | [`Error::execution`], and its [table](Error#what-to-do) |
//! | see whether connecting fails, and why | [`Channel::state`], [`Channel::watch`]; [metrics](#metrics) |
//! | see whether the server answers | a call with a [`deadline`](Channel::deadline) |
//! | know how long a call can take | [the steps of a call](Channel#how-long-a-call-can-take) |
//! | connect over TLS with a private root or a certificate of my own | `ClientTls` in [`transport`], with the feature `tls` |
//! | connect over TLS or to a Unix socket | an [`Address`](transport::Address) `tls://host:port` or `unix:/path` |
//! | connect over a transport of my own | [`ChannelOptions::over`](client::ChannelOptions::over), [`Connection::over`] |
//! | put layers of `tower` around the calls | `Channel::service`, with the feature `tower` |
//! | test code that calls a server | [a stub](macro@server_protocol#tests-without-the-server) |
//!
//! # Choosing a client
//!
//! | client | connections | in flight | for |
//! |---|---|---|---|
//! | [`Channel`] | one or several, made again when they end | many, from many tasks | an application |
//! | [`Connection`] | one, kept open | 1, or many with a [`Pipeline`] | one task; a protocol with a state for each connection |
//! | [`Client`] | one for each exchange | 1 | a command, an occasional request |
//!
//! To send a request and receive its reply, use [`call`](Connection::call).
//! [`exchange`](Connection::exchange) is for a [`ClientProtocol`], which also processes the reply.
//!
//! For every channel whose functions wait, use the framing [`Multiplexed`]: its replies come in any order. A protocol
//! with a session also needs [`concurrent`](macro@server_protocol#requests-side-by-side).
//!
//! # Threads
//!
//! Each connection is a task. It calls its function for one request after the other, unless the protocol has
//! [`concurrent`](macro@server_protocol#requests-side-by-side) or [`Multiplexed`]. Functions of different
//! connections run in parallel, on the worker threads of the runtime.
//!
//! | function | runs |
//! |---|---|
//! | `fn` | on a worker thread, to its end. Other tasks of that thread wait, so it should return within about a millisecond |
//! | `async fn` | on a worker thread; after an `.await`, it may continue on another one |
//! | with the option `blocking` | on a thread that may block ([`block_in_place`]). On a current-thread runtime, everything else waits |
//!
//! `run()` and `start()` create a multi-threaded runtime. To serve on a runtime that your program has, await
//! [`listen()`](server::Server::listen), or [`bind()`](server::Server::bind) and spawn `listen()`, as in the example
//! above. The runtime needs I/O and time ([`enable_all`]). A program can run several servers on one runtime.
//!
//! # Stopping
//!
//! `run()` handles signals: Ctrl-C and SIGTERM stop the server, and a second signal ends it immediately. The other
//! methods handle no signals, except [`listen_until_signal`](server::Server::listen_until_signal).
//! [`start()`](server::Server::start) serves on another thread until the program stops it, for programs that are
//! not `async`. A [`ServerHandle`](server::ServerHandle) or a future
//! ([`listen_until`](server::Server::listen_until)) stops a server from your code.
//!
//! A server that is stopped drains: it accepts no more connections, sends *going away* to idle ones,
//! waits up to a second for the rest of a started frame, and answers the requests in flight. After
//! [`drain_timeout`](server::Server::drain_timeout), it aborts the rest. Idle connections are closed immediately,
//! without waiting for their peers to close, unless something is unread ([`linger`](server::Server::linger)).
//! `listen()` then returns the [`Report`], which counts the requests and the connections by their outcome.
//!
//! Behind a balancer, set [`lame_duck`](server::Server::lame_duck): a server that is stopped then continues to serve for
//! this time, so that the balancer sees the stop before the listeners close. The server goes through these phases:
//!
//! | phase | begins | connections | [`ServerHandle::is_stopping`](server::ServerHandle::is_stopping) | [`Draining`](protocol::Draining) of functions |
//! |---|---|---|---|---|
//! | serving | when it listens | are accepted | `false` | not ready |
//! | lame duck | when it is stopped | are accepted | `true` | not ready |
//! | draining | after `lame_duck` | are refused; open ones finish | `true` | ready |
//! | aborting | after `drain_timeout`, at a second signal, or at [`abort`](server::ServerHandle::abort) | are aborted | `true` | ready |
//!
//! # Limits
//!
//! Every wait for a peer and every buffer has a limit. The documentation of each setting has its default. What exceeds a
//! limit is rejected with a text that names the setting, if the framing can carry it.
//! [docs/limits.md](https://docs.rs/crate/tcs/latest/source/docs/limits.md) has tables of the defaults with their reasons,
//! and how you tell that a limit was reached.
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
//! To hold more than 1,024, raise [`max_connections`](server::Server::max_connections), and raise the descriptor limit
//! (`ulimit -n`, or `LimitNOFILE` of systemd) above it. A connection that waits for a request has no buffers and takes
//! about 1.3 KB ([measured](https://docs.rs/crate/tcs/latest/source/docs/performance.md)), in addition to the socket of
//! the operating system. Connections that are idle for more than 300 s are closed, unless you set `idle_timeout(None)`.
//!
//! # Untrusted peers
//!
//! | a peer can | what limits it |
//! |---|---|
//! | open connections and leave them idle | a quarter of `max_connections` for each address; `idle_timeout`; [`AtCapacity::EvictIdle`](server::AtCapacity::EvictIdle) |
//! | send slowly, or stop in the middle of a message | `frame_timeout` |
//! | send large messages | `max_frame_len` for each connection, and `memory_budget` for all together; memory grows only as bytes arrive |
//! | send short messages that claim much, or nest deeply | in the serde formats, 128 levels, and no more elements than bytes |
//! | read slowly, or not at all | `write_timeout`, and 2 s for a large reply beyond `memory_budget`; a connection stops processing while 64 KiB wait to be sent |
//! | send requests without a pause | 100 µs at a time, then other connections run; `max_request_rate_per_address` |
//! | send requests that take long | `request_timeout` for a function that waits; each connection has one request at a time, or as many as `concurrent` says; `max_in_flight_per_address` |
//! | are too many for the server | `max_queue_time`: see [Overload](https://docs.rs/crate/tcs/latest/source/docs/overload.md) |
//! | speak another protocol | HTTP, TLS, SSH, Redis and PROXY headers are [detected](framing::Framing#other-protocols), unless the framing has [`Detection::OFF`](framing::Detection::OFF), as `Codec` does |
//! | cause log lines | at `INFO` and above, one for each message and second: [logging](#logging) |
//! | put control characters into your terminal | `Display` of errors and the log escape them; [`Rejection::text`] does not |
//! | read or change the traffic, or pretend to be another | nothing: use TLS, and authenticate in your protocol |
//!
//! # Rejecting requests
//!
//! | where | write | the [kind](RejectionKind) of the rejection |
//! |---|---|---|
//! | in the function | `Err(error)` | [`Error`](RejectionKind::Error) with the text of `error`. A [`Rejection`] is sent as its text only, and its kind is lost |
//! | before the function | a parameter whose [`FromContext`] returns a [`Rejection`] | that of the [`Rejection`] |
//! | in a [`ServerProtocol`] that you implement | `Err(rejection)` | that of the [`Rejection`] |
//!
//! [`LengthPrefixed`] and [`Multiplexed`] send a rejection in a control frame. With any other framing, the connection closes once the
//! earlier replies are sent, unless the rejection is an [`Err` of the function](#an-err-of-the-function). To send a
//! message of your protocol instead, use [`reject_with`](macro@server_protocol#custom-rejection-messages).
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
//! With [`LengthPrefixed`] and [`Multiplexed`], the client's error has the kind [`Rejected`](ErrorKind::Rejected) and the
//! [`Rejection`]:
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
//! With other framings, the report is the same. The client's error has the kind [`Closed`](ErrorKind::Closed) and the
//! execution [`Unknown`](Execution::Unknown), except for an `Err`, as above. `examples/rejections.rs` prints all cases.
//!
//! # Errors
//!
//! The functions of this library return an [`Error`]. It has a [`kind`](Error::kind), and an
//! [`execution`](Error::execution), which says whether a request that failed was executed.
//! [`is_retryable`](Error::is_retryable) says whether to send it again, and
//! [`is_connection_lost`](Error::is_connection_lost) whether to connect again. [`Error`] has a table of all cases.
//!
//! An error on one connection of a server is sent to its peer, logged with `tracing`, and affects no other
//! connection: see [`server`](server#what-each-error-ends).
//!
//! # Panics
//!
//! A panic in a protocol function fails its request. The peer receives *failed*, and the message of the panic is
//! logged, not sent. The connection closes if its framing cannot report a failure, or if the protocol has a session,
//! which may be half changed, and no `concurrent`. Other connections are not affected. A `std::sync::Mutex` that the
//! function had locked is poisoned. If you build with `panic = "abort"`, a panic ends the process.
//!
//! Before the panic is logged, the panic hook of your program runs. The default hook writes the message to stderr as it
//! is, with what it quotes of a peer. A hook of your own can escape it:
//!
//! ```
//! std::panic::set_hook(Box::new(|panic| {
//!     let text = panic.payload_as_str().unwrap_or("no text");
//!     let location = panic.location().map(ToString::to_string);
//!     eprintln!("panic at {}: {text:?}", location.unwrap_or_default());
//! }));
//! ```
//!
//! If the log is enough, the hook can leave out the text, or do nothing.
//!
//! # Cancel safety
//!
//! Each `async fn` documents what dropping its future does. In short: a dropped server closes its
//! listener and aborts its connections. A [`call`](Connection::call) that is dropped or has timed out takes no reply from
//! another: its request is not sent, or its reply is dropped. A request that was sent is still executed, and the requests
//! after it on the same connection wait for it. With [`Multiplexed`], it is cancelled instead. A server drops a protocol
//! function that waits if its peer leaves or a limit passes: see [what becomes of a
//! function](server#what-becomes-of-a-function).
//!
//! # Logging
//!
//! The library logs with `tracing`. It installs no subscriber: install one, such as
//! `tracing_subscriber::fmt().init()`.
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
//! | span `connection`, around the events of a connection | `INFO` | `peer`; `id`, as [`ConnectionInfo::id`] |
//! | span `handshake`, around those of its handshakes | `INFO` | `peer`, as it was accepted; `id` |
//! | `listening` | `INFO` | `listeners`, `max_connections` |
//! | `the server does not listen` | `ERROR` | `error` with its causes |
//! | `connected`, after the handshakes | `DEBUG` | `local_addr`, if there is one |
//! | `closing the connection` | `DEBUG` | `reason`: the [`Rejection`] that the peer is told, if the framing can carry it |
//! | `answered with a rejection` | `DEBUG` | `reason`, with the name of the setting if it was a limit |
//! | `a connection is rejected` | `DEBUG` | `peer`, `reason` |
//! | `closing the connection without a message` | `INFO` | `reason` |
//! | `disconnected` | `DEBUG` | `reason`, such as `the peer has closed`; `requests`, `bytes_received`, `bytes_sent`; `events`, if it could be pushed to; `seconds` since it was accepted |
//! | `a handshake has failed` | `INFO` | `peer`, as the last handshake has left it; `reason` |
//! | `the processing of a request panicked` | `ERROR` | `panic`: the text |
//! | `stopped` | `INFO`, or `WARN` if requests were aborted | `report` |
//! | span `channel`, around the events of a connection of a [`Channel`] | `INFO` | `server` |
//! | `cannot connect; trying again` | `WARN`, at the first of several attempts | `error` |
//! | `connected again` | `INFO` | `peer`; `failures` |
//! | `connection lost with calls in flight` | `INFO` | `peer`, `reason` |
//!
//! A server logs an event that a peer can cause once per second at `INFO` and above. In between, it logs further events
//! with this message at `DEBUG`, and the next line has their number as `left_out`. Requests are not logged one by one,
//! because that would cost each of them time even when it is off. [Count](server::ServerHandle::stats) them, or wrap the
//! protocol in [`TraceRequests`](protocol::TraceRequests).
//!
//! Control characters in the text of peers, and of your own errors, are escaped: no field contains a line feed or an
//! escape sequence.
//!
//! # Metrics
//!
//! With the feature `metrics`, servers and channels publish metrics through the crate `metrics`. The library installs no
//! recorder: install one, such as that of `metrics-exporter-prometheus` 0.18 (it must be one for `metrics` 0.24), before
//! you call `bind()`, [`listen()`] or `run()`, and before you make a channel. The metrics of several servers in a program
//! add up, and so do those of channels.
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
//! | `tcs_rejections_total` | counter | rejected requests and connections, by `kind`: the text of the [`RejectionKind`] |
//! | `tcs_received_bytes_total` | counter | bytes of frames that were received, without those of TLS |
//! | `tcs_sent_bytes_total` | counter | bytes of frames that were sent |
//! | `tcs_events_total` | counter | pushed events, by `outcome`: `sent` or `dropped`, as in the [`Report`] |
//! | `tcs_buffer_bytes` | gauge | what large buffers and queues of events have of the `memory_budget` |
//! | `tcs_client_connections_open` | gauge | connections of channels that are open |
//! | `tcs_client_connects_total` | counter | attempts to connect, by `outcome`: `connected` or `failed` |
//! | `tcs_client_connections_lost_total` | counter | connections that ended while calls were in flight |
//! | `tcs_client_calls_total` | counter | calls, by `outcome`: `answered` or `failed`, with their retries |
//! | `tcs_client_retries_total` | counter | requests that were sent again |
//! | `tcs_client_call_duration_seconds` | histogram | the time from a call to its reply, with all waits and retries |
//!
//! The totals and gauges of servers are published once per second, so requests do not pay for them. Those of channels are
//! published when they change, and have no labels but `outcome`. `tcs_calls_total` and
//! `tcs_request_duration_seconds` have the label `operation` if the protocol is a module. Only the two durations are
//! recorded for each request, which takes two looks at the clock, and one for each read. What happens to a reply after
//! it is encoded changes nothing in `tcs_calls_total`. So a call with the option `concurrent` was *served* even if its
//! framing cannot carry the reply, and its request has *failed*.
//!
//! Without the feature, [`ServerHandle::stats`](server::ServerHandle::stats) has the totals and gauges as plain numbers:
//! `examples/prometheus.rs` serves them as text.
//!
//! # Features
//!
//! No feature is enabled by default. Each adds the crates that it needs.
//!
//! | feature | adds |
//! |---|---|
//! | `json`, `postcard`, `messagepack`, `protobuf` | the formats in the table below |
//! | `codec` | [`framing`]`::Codec`, which makes any codec of `tokio_util` a framing and a format |
//! | `metrics` | [metrics](#metrics) of servers and channels |
//! | `tls` | TLS: [`transport`]`::Tls` for servers; `ClientTls` and addresses `tls://host:port` for clients |
//! | `self-signed` | `transport::create_self_signed`, a certificate for development |
//! | `proxy` | `transport::ProxyHeader`, for a server behind a balancer |
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
//! # What is not stable
//!
//! Before 1.0, a change of the second version number may break programs. `CHANGELOG.md` lists the
//! changes, and `WIRE.md` specifies each framing and each format; both are in the package. The reserved
//! kinds of control frames may get a meaning, and the others will not change. The
//! hidden module `__private` is only for the attributes.
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
mod macro_support;
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
#[path = "private.rs"]
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
