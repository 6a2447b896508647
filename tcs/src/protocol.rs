//! The traits of protocols.
//!
//! The attributes implement [`ServerProtocol`] and [`ClientProtocol`]; you can also implement them by hand. [`wrap`]
//! runs a [`Middleware`] around the function of a protocol. A [`Contract`] names the messages of a protocol for
//! clients. [`CallContract`] and [`CallOwned`] are bounds of the methods that call it; you never implement them.
//!
//! # An existing protocol
//!
//! Choose the [framing](crate::framing) of the protocol. Set its greeting and its error messages with the options
//! `greeting` and `reject_with`. To close the connection or send no reply, return a [`Response`](crate::Response). This
//! is a part of SMTP; `examples/greeting.rs` has more of it:
//!
//! ```
//! use tcs::{Rejection, Response, framing::CrlfLines, server_protocol};
//!
//! #[server_protocol(framing = CrlfLines, greeting = "220 ready", reject_with = smtp_reply)]
//! fn smtp(line: &str, #[session] sender: &mut String) -> Result<Response<&'static str>, String> {
//!     match line.split_once(':').unwrap_or((line, "")) {
//!         ("MAIL FROM", path) => *sender = path.to_owned(),
//!         ("NOOP", _) => {}
//!         ("QUIT", _) => return Ok(Response::ReplyAndClose("221 goodbye")),
//!         (verb, _) => return Err(format!("unknown command {verb}")),
//!     }
//!     Ok(Response::Reply("250 ok"))
//! }
//!
//! fn smtp_reply(rejection: &Rejection) -> String {
//!     let code = if rejection.kind().is_final() { 421 } else { 500 };
//!     format!("{code} {}", rejection.text())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let (mut near, far) = tokio::io::duplex(1024);
//! # let server = tokio::spawn(tcs::ConcurrentServer::new(Smtp).serve_stream(far, tcs::Peer::unnamed()));
//! # near.write_all(b"MAIL FROM:<ann@example>\r\nEXPN\r\nQUIT\r\n").await?;
//! # let mut replies = String::new();
//! # near.read_to_string(&mut replies).await?;
//! # assert_eq!(replies, "220 ready\r\n250 ok\r\n500 unknown command EXPN\r\n221 goodbye\r\n");
//! # drop(near);
//! # assert_eq!(server.await??.requests.served, 3);
//! # Ok(())
//! # }
//! ```
//!
//! # Conversations
//!
//! A function that does more than reply once takes a handle as a parameter:
//!
//! | parameter | option of the attribute | for |
//! |---|---|---|
//! | [`push: Push<Chat>`](Push) | `push = Event<'_>` | events; [`PushGroup`] sends one to many peers |
//! | [`mut out: Replies<'_, Rows>`](Replies) | `replies = Row<'_>` | a reply of many messages, called items |
//! | [`mut more: Requests<'_, Upload>`](Requests) | `requests = Chunk<'_>` | further messages of the request, called chunks, or a block of bytes |
//! | [`closed: Closed<'_>`](Closed) | | noticing that the peer has closed |
//! | [`draining: Draining<'_>`](Draining) | | noticing that the server drains |
//!
//! If the items come from an iterator, a function can return [`Response::many`](crate::Response::many) instead of
//! taking `Replies`, and need not be `async`. To take over the connection, as for a tunnel, return
//! [`Response::upgrade`](crate::Response::upgrade).
//!
//! `Chat`, `Rows` and `Upload` are protocols: the types that the attribute generates. Each has one type of events, one
//! of items and one of chunks. A protocol that is written by hand implements [`Pushes`], [`Streams`] and [`Receives`],
//! and takes the handles from [`ConnectionInfo`].
//!
//! Replies are sent in the order of the requests (except with [`Multiplexed`](crate::framing::Multiplexed)), and items
//! directly before the reply that ends them. Events are sent in the order in which they are pushed, when the connection
//! waits for a function or for a request. An event that a function pushes to its own connection is therefore sent after
//! its reply, and after the replies to requests that had arrived by then.
//!
//! With [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed), a client
//! can tell replies, items and events apart. With other framings, they look the same, and their content must tell them
//! apart, as in text protocols. With `Codec`, there are replies only.
//!
//! ```
//! use tcs::{
//!     ConcurrentServer, framing::Lines, protocol::{Push, PushGroup, Replies}, server_protocol,
//! };
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! /// Replies with the words of a line, and tells all who have asked before.
//! #[server_protocol(framing = Lines, push = &str, replies = &str)]
//! async fn split(
//!     line: &str,
//!     #[state] readers: &PushGroup<Split>,
//!     push: Push<Split>,
//!     mut out: Replies<'_, Split>,
//! ) -> Result<String, String> {
//!     for word in line.split(' ') {
//!         out.send(word).await?;
//!     }
//!     readers.send("* a line was split")?;
//!     readers.join(&push);
//!     Ok(".".to_owned())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut near, far) = tokio::io::duplex(1024);
//! let server = ConcurrentServer::new(Split::new(PushGroup::new()));
//! let server = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
//! near.write_all(b"one two\nthree\n").await?;
//! near.shutdown().await?;
//! let mut replies = String::new();
//! near.read_to_string(&mut replies).await?;
//! assert_eq!(replies, "one\ntwo\n.\nthree\n.\n* a line was split\n");
//! # drop(near);
//! # assert_eq!(server.await??.requests.served, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # A format of your own
//!
//! A format is an empty type. Implement [`Encode`] and [`Decode`] for each type that is a message in it. If functions
//! return a [`Response`](crate::Response) or a `Result`, implement [`ReplyValue`](crate::format::ReplyValue) too, which
//! names the type that the client receives:
//!
//! ```
//! use std::fmt::{Display, Write as _};
//!
//! use tcs::{
//!     ConcurrentServer, Connection, Response,
//!     format::{Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer},
//!     server_protocol,
//! };
//!
//! /// Numbers as hexadecimal digits.
//! enum Hex {}
//!
//! impl Encode<Hex> for u64 {
//!     fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
//!         write!(out, "{self:x}").map_err(EncodeError::new)
//!     }
//! }
//!
//! impl Decode<'_, Hex> for u64 {
//!     fn decode(frame: Frame<'_>) -> Result<Self, DecodeError> {
//!         u64::from_str_radix(frame.text()?, 16).map_err(DecodeError::new)
//!     }
//! }
//!
//! impl<'a, T: ReplyValue<'a, Hex>> ReplyValue<'a, Hex> for Response<T> {
//!     type Value = T::Value;
//! }
//!
//! /// An `Err` is a rejection, as in `Plain`.
//! impl<T: Encode<Hex>, E: Display> Encode<Hex> for Result<T, E> {
//!     fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
//!         match self {
//!             Ok(reply) => reply.encode(out),
//!             Err(error) => {
//!                 out.fail(error);
//!                 Ok(())
//!             }
//!         }
//!     }
//! }
//!
//! impl<'a, T: ReplyValue<'a, Hex>, E> ReplyValue<'a, Hex> for Result<T, E> {
//!     type Value = T::Value;
//! }
//!
//! #[server_protocol(format = Hex)]
//! fn double(number: u64) -> Result<Response<u64>, &'static str> {
//!     let doubled = number.checked_mul(2).ok_or("too large")?;
//!     Ok(Response::Reply(doubled))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tcs::Result<()> {
//! let (near, far) = tokio::io::duplex(1024);
//! let server = tokio::spawn(ConcurrentServer::new(Double).serve_stream(far, tcs::Peer::unnamed()));
//! let mut connection = Connection::over(near);
//! assert_eq!(connection.call::<Double>(0xff).await?, 0x1fe);
//! assert!(connection.call::<Double>(u64::MAX).await.is_err());
//! # drop(connection);
//! # assert_eq!(server.await.expect("no panic")?.requests.served, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Testing
//!
//! A protocol function is an ordinary function, so you can call it: `greet("Ann")`, or `add(1, &state, &mut session,
//! &Peer::unnamed())`. To test the bytes on the wire, serve one end of an in-memory pipe:
//!
//! ```
//! use tcs::{OnceServer, framing::Lines, server_protocol};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! #[server_protocol(framing = Lines)]
//! fn greet(name: &str) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut near, far) = tokio::io::duplex(1024);
//! let server = tokio::spawn(OnceServer::new(Greet).serve_stream(far, tcs::Peer::unnamed()));
//!
//! near.write_all(b"Ann\n").await?;
//! let mut reply = String::new();
//! near.read_to_string(&mut reply).await?;
//! assert_eq!(reply, "Hello, Ann!\n");
//!
//! drop(near);
//! assert_eq!(server.await??.requests.served, 1);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Connection::over`] creates a client on the other end. Over TCP, `port(0)` selects a free port, as in the example
//!   of the [crate]; without `async`, use [`start()`].
//! - Run a function that takes part in a [conversation](#conversations) on a [`TestConnection`].
//! - With the feature `testing`, the module `testing` serves any server in memory, scripts its peers, and cuts
//!   connections at every byte.
//!
//! To test a protocol, a framing or a format written by hand, create its inputs with [`ConnectionInfo::new`],
//! [`Context::new`], [`Input::new`], [`Frame::new`](crate::format::Frame::new) and
//! [`Writer::new`](crate::format::Writer::new).
//!
//! [`Connection::over`]: crate::Connection::over
//! [`ConnectionInfo::new`]: crate::ConnectionInfo::new
//! [`Input::new`]: crate::framing::Input::new
//! [`start()`]: crate::server::Server::start

mod client;
mod concurrency;
mod contract;
mod no_request;
#[cfg(feature = "tower")]
pub mod tower;

use std::sync::Arc;

pub use client::ClientProtocol;
pub use concurrency::Concurrency;
pub use contract::{CallContract, CallOwned, Contract};
pub use no_request::NoRequest;

pub(crate) use concurrency::{is_concurrent, share_session};
pub(crate) use no_request::{has_no_request, has_one_exchange};

pub use crate::{
    context::{Context, FromContext},
    conversation::{
        Body, Closed, Push, PushError, PushGroup, PushGroups, PushOverflow, Pushes, ReceiveError,
        Receives, Replies, Requests, SendError, Streams, TestConnection,
    },
    draining::Draining,
    format::lossy::Lossy,
    from_session::FromSession,
    middleware::{Middleware, TraceRequests, Wrapped, wrap},
    response::{Many, NoUpgrade, Upgrade, Upgraded},
};

use crate::{
    ConnectionInfo, Peer, Rejection,
    conversation::CloneFraming,
    format::{Decode, Encode, NoMessage},
    framing::Framing,
};

/// A server's protocol: its messages, and the function that answers them.
///
/// [`#[server_protocol]`](crate::server_protocol) implements this trait from a function. Implement
/// it by hand for a reply type chosen per request, a framing that depends on the protocol's value,
/// or rejections of any kind:
///
/// ```
/// use tcs::{
///     ConnectionInfo, Rejection, format::Plain, framing::LengthPrefixed,
///     protocol::{Context, ServerProtocol},
/// };
///
/// /// Counts the requests of each connection, up to a limit.
/// struct Counter {
///     limit: u32,
/// }
///
/// impl ServerProtocol for Counter {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Session = u32;
///     type Request<'a> = &'a str;
///     type Reply<'a> = String;
///
///     fn open_session(&self, _info: &ConnectionInfo) -> u32 {
///         0
///     }
///
///     async fn process_request(
///         &self,
///         context: Context<'_, u32>,
///         name: &str,
///     ) -> Result<String, Rejection> {
///         *context.session += 1;
///         if *context.session > self.limit {
///             return Err(Rejection::busy("that was enough"));
///         }
///         Ok(format!("{name} {}", context.session))
///     }
/// }
/// ```
///
/// If a reply borrows from the request or the protocol, name the lifetime of the exchange:
///
/// ```
/// # use tcs::{
/// #     ConnectionInfo, Rejection, format::Plain, framing::LengthPrefixed,
/// #     protocol::{Context, ServerProtocol},
/// # };
/// struct FirstWord;
///
/// impl ServerProtocol for FirstWord {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Session = ();
///     type Request<'a> = &'a str;
///     type Reply<'a> = &'a str;
///
///     fn open_session(&self, _info: &ConnectionInfo) {}
///
///     async fn process_request<'a>(
///         &'a self,
///         _context: Context<'a, ()>,
///         text: &'a str,
///     ) -> Result<&'a str, Rejection> {
///         text.split(' ').next().ok_or_else(|| Rejection::bad_request("there is no word"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a server protocol",
    label = "not a `ServerProtocol`",
    note = "`#[server_protocol]` on a function `fn greet` makes a type `Greet`: pass `Greet`, with its states if it has any",
    note = "a type that `#[client_protocol]` makes is passed to `exchange`"
)]
pub trait ServerProtocol: Sized + Send + Sync + 'static {
    /// The framing: how messages are separated in the byte stream.
    type Framing: Framing;
    /// The format: how a message is encoded, for example [`Plain`](crate::format::Plain).
    type Format;
    /// The data that one connection keeps between its requests; `()` for none.
    type Session: Send;
    /// The request. It may borrow from the receive buffer.
    type Request<'a>: Decode<'a, Self::Format> + Send;
    /// The reply. It may borrow from the request, the protocol and the session.
    type Reply<'a>: Encode<Self::Format>;

    /// Returns the framing of a new connection.
    ///
    /// Default: the framing's default.
    fn framing(&self) -> Self::Framing {
        Self::Framing::default()
    }

    /// Returns the session of a new connection.
    ///
    /// [`ConnectionInfo::peer`] is the other end. A session can keep a [`Push`], which `info.push::<Self>()` returns.
    ///
    /// A panic here ends only this connection.
    fn open_session(&self, info: &ConnectionInfo) -> Self::Session;

    /// Whether every connection begins with a greeting. Callers wait for it, so
    /// [`greeting`](Self::greeting) must return `Some` if and only if this is `true`.
    ///
    /// Default: `false`.
    const HAS_GREETING: bool = false;

    /// Distinguishes events from replies, for clients of framings that do not announce events: all except
    /// [`LengthPrefixed`](crate::framing::LengthPrefixed) and [`Multiplexed`](crate::framing::Multiplexed). If the
    /// protocol pushes events, set it to [`Pushes::is_push`] of the same type.
    ///
    /// Default: `None`.
    const IS_EVENT: Option<fn(&[u8]) -> bool> = None;

    /// Returns the message to send when a connection opens.
    ///
    /// A panic here, or as the message is written, ends only this connection.
    ///
    /// Default: `None`. If you override this, set [`HAS_GREETING`](Self::HAS_GREETING) to `true`.
    fn greeting<'a>(
        &'a self,
        peer: &'a Peer,
        session: &'a mut Self::Session,
    ) -> Option<impl Encode<Self::Format>> {
        let _ = (peer, session);
        None::<NoMessage>
    }

    /// Returns the message to send for a rejection, if the framing has no control frame.
    ///
    /// Default: `None`.
    ///
    /// The message replaces the reply, and the connection stays open. Without a message, the server sends the earlier
    /// replies and closes the connection, except after a [`RejectionKind::Error`](crate::RejectionKind::Error): see [an
    /// `Err` of the function](crate#an-err-of-the-function).
    ///
    /// [`Rejection::request`] returns the request, if it never reached the function.
    ///
    /// After a final rejection ([`is_final`](crate::RejectionKind::is_final)), the connection closes.
    /// [`Response::ReplyAndClose`](crate::Response::ReplyAndClose) closes it in any case, and
    /// [`Response::NoReply`](crate::Response::NoReply) sends nothing.
    ///
    /// This method is not called for a peer that speaks another protocol (HTTP, TLS, SSH), nor if
    /// the connection ends as planned, after the last reply. A panic here, or a message that cannot
    /// be sent, closes the connection.
    fn reject_with<'a>(&'a self, rejection: &'a Rejection) -> Option<impl Encode<Self::Format>> {
        let _ = rejection;
        None::<NoMessage>
    }

    /// Processes one request, and returns its reply or a rejection.
    ///
    /// You can write it as an `async fn`. A method that never waits can keep the return type that is declared here, and
    /// return [`std::future::ready`] of its result.
    ///
    /// Each connection processes one request at a time, unless [`CONCURRENT`](Self::CONCURRENT) is set. A panic fails
    /// the request: the peer receives *failed*, and the payload is logged. The connection then closes, because the
    /// session may be half changed, unless [`Session`](Self::Session) is `()` or [`CONCURRENT`](Self::CONCURRENT) is
    /// set.
    ///
    /// # Cancel safety
    ///
    /// A waiting future is dropped when its peer leaves, when a limit expires, or when the server ends: see [what
    /// becomes of a function](crate::server#what-becomes-of-a-function).
    fn process_request<'a>(
        &'a self,
        context: Context<'a, Self::Session>,
        request: Self::Request<'a>,
    ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send;

    /// Whether a peer that closes its sending half is taken to have left.
    ///
    /// Default: `false`.
    ///
    /// A peer that has closed its connection looks like one that has closed only its sending half and waits for its
    /// replies, as `nc -N` does. By default, a waiting function therefore continues for
    /// [`half_close_timeout`](crate::server::Server::half_close_timeout). If this is `true`, the function is dropped
    /// immediately, and nothing more is sent. Use it if clients never half-close and a function waits for an event that
    /// may never come, such as the next element of a queue.
    ///
    /// This does not compile with a framing whose requests end with a half-close
    /// ([`Framing::EXCHANGES`]).
    const ENDS_AT_HALF_CLOSE: bool = false;

    /// Whether several requests of one connection are processed concurrently.
    ///
    /// Default: 128 [unordered](Concurrency::unordered) requests with a framing that has [ids](Framing#ids), and `None`
    /// with all others: one request at a time. It has no effect on functions that never wait.
    ///
    /// Up to [`limit`](Concurrency::limit) functions run in the task of the connection. Each request has a copy of its
    /// bytes and a share of the session ([`share_session`](Self::share_session)). At the limit, the connection takes no
    /// more requests, and reads up to 64 KiB ahead.
    ///
    /// A panic, or the end of [`request_timeout`](crate::server::Server::request_timeout), fails only its own request.
    /// After a reply that closes the connection, or a rejection that cannot be sent, no more requests are taken. In
    /// order, later functions are dropped, and so are the replies of those that have returned: the client is told that
    /// these requests have *failed*, and the [`Report`](crate::server::Report) counts them as *aborted*. Unordered, the
    /// reply waits for those in flight, and is the last one. Events that a function pushes to its own connection may be
    /// sent before its reply.
    ///
    /// The items of a streamed reply ([`Replies`]) are sent when it is the turn of the reply. [`Requests`] returns an
    /// error, because chunks belong to the last request. A framing whose messages are values (`Codec`), or a function
    /// that takes over its connection, does not compile with it.
    const CONCURRENT: Option<Concurrency> = if Self::Framing::HAS_IDS {
        Some(Concurrency::unordered(128))
    } else {
        None
    };

    /// Returns the session for another [concurrent](Self::CONCURRENT) request, usually a clone of an [`Arc`].
    ///
    /// Default: `None`. Unless the session is `()`, the request then fails; with a framing that has ids, requests are
    /// processed one at a time instead.
    fn share_session(session: &Self::Session) -> Option<Self::Session> {
        let _ = session;
        None
    }

    /// Whether the future of [`process_request`](Self::process_request) may have to wait.
    ///
    /// The attributes set `false` for functions that are neither `async` nor `blocking`. The server then polls the
    /// future on the stack, without cost. If the future waits nevertheless, it is dropped, and its request fails.
    #[doc(hidden)]
    const WAITS: bool = true;

    /// What copies the framing of a connection for a function that changes it (`#[framing]`).
    #[doc(hidden)]
    const CLONE_FRAMING: Option<CloneFraming<Self::Framing>> = None;

    /// The names of the operations, for logs and metrics.
    ///
    /// Default: none. `#[server_protocol]` on a module sets the names of its functions.
    const OPERATIONS: &'static [&'static str] = &[];

    /// Returns which of [`OPERATIONS`](Self::OPERATIONS) a request calls, counted from 0.
    ///
    /// Default: 0.
    fn operation(request: &Self::Request<'_>) -> usize {
        let _ = request;
        0
    }
}

/// Writes all items of a [`ServerProtocol`] but `process_request` and `WAITS`: those of the protocol `$inner`, which is
/// the value `$value`.
macro_rules! forward_server_protocol {
    ($inner:ty, $self:ident => $value:expr) => {
        type Framing = <$inner as ServerProtocol>::Framing;
        type Format = <$inner as ServerProtocol>::Format;
        type Session = <$inner as ServerProtocol>::Session;
        type Request<'a> = <$inner as ServerProtocol>::Request<'a>;
        type Reply<'a> = <$inner as ServerProtocol>::Reply<'a>;

        fn framing(&$self) -> Self::Framing {
            <$inner>::framing($value)
        }

        fn open_session(&$self, info: &ConnectionInfo) -> Self::Session {
            <$inner>::open_session($value, info)
        }

        const HAS_GREETING: bool = <$inner as ServerProtocol>::HAS_GREETING;
        const IS_EVENT: Option<fn(&[u8]) -> bool> = <$inner as ServerProtocol>::IS_EVENT;

        fn greeting<'a>(
            &'a $self,
            peer: &'a Peer,
            session: &'a mut Self::Session,
        ) -> Option<impl Encode<Self::Format>> {
            <$inner>::greeting($value, peer, session)
        }

        fn reject_with<'a>(&'a $self, rejection: &'a Rejection) -> Option<impl Encode<Self::Format>> {
            <$inner>::reject_with($value, rejection)
        }

        const ENDS_AT_HALF_CLOSE: bool = <$inner as ServerProtocol>::ENDS_AT_HALF_CLOSE;
        const CONCURRENT: Option<crate::protocol::Concurrency> = <$inner as ServerProtocol>::CONCURRENT;
        const CLONE_FRAMING: Option<crate::conversation::CloneFraming<Self::Framing>> =
            <$inner as ServerProtocol>::CLONE_FRAMING;

        fn share_session(session: &Self::Session) -> Option<Self::Session> {
            <$inner>::share_session(session)
        }

        const OPERATIONS: &'static [&'static str] = <$inner as ServerProtocol>::OPERATIONS;

        fn operation(request: &Self::Request<'_>) -> usize {
            <$inner>::operation(request)
        }
    };
}
pub(crate) use forward_server_protocol;

macro_rules! implement_for_pointers {
    ($($pointer:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<P: ServerProtocol> ServerProtocol for $pointer {
            forward_server_protocol!(P, self => self);

            fn process_request<'a>(
                &'a self,
                context: Context<'a, Self::Session>,
                request: Self::Request<'a>,
            ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send {
                P::process_request(self, context, request)
            }

            const WAITS: bool = P::WAITS;
        }
    )*};
}

implement_for_pointers!(Arc<P>, &'static P);
