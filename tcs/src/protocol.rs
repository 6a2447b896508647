//! The two traits that the attributes implement.

use std::sync::Arc;

use crate::{
    Context, Decode, DecodeError, Encode, EncodeError, Frame, Framing, NoMessage, Peer, Received,
    Rejection, Writer,
};

/// What a server says on its connections: how messages are cut and read, and what answers them.
///
/// [`#[server_protocol]`](crate::server_protocol) implements it from a function. By hand, one gains
/// a reply type chosen per request, a framing that depends on the protocol's value, or refusals of
/// any kind:
///
/// ```
/// use tcs::{Context, LengthPrefixed, Peer, Plain, Rejection, ServerProtocol};
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
///     fn open_session(&self, _peer: &Peer) -> u32 {
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
/// A reply that borrows, from the request or from the protocol, has the lifetime of the exchange,
/// which the method then spells out:
///
/// ```
/// # use tcs::{Context, LengthPrefixed, Peer, Plain, Rejection, ServerProtocol};
/// struct FirstWord;
///
/// impl ServerProtocol for FirstWord {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Session = ();
///     type Request<'a> = &'a str;
///     type Reply<'a> = &'a str;
///
///     fn open_session(&self, _peer: &Peer) {}
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
    note = "`#[server_protocol]` on a function `fn greet` makes a type `Greet`: pass `Greet`, with its states if it has any"
)]
pub trait ServerProtocol: Sized + Send + Sync + 'static {
    /// How messages are cut out of the byte stream.
    type Framing: Framing;
    /// How a message becomes bytes: [`Plain`](crate::Plain), say.
    type Format;
    /// What one connection keeps between its requests; `()` for nothing.
    type Session: Send;
    /// What is asked; it may borrow from the receive buffer.
    type Request<'a>: Decode<'a, Self::Format> + Send;
    /// What is answered; it may borrow from the request, the protocol and the session.
    type Reply<'a>: Encode<Self::Format>;

    /// Returns the framing of a new connection; the default one unless this is overridden.
    fn framing(&self) -> Self::Framing {
        Self::Framing::default()
    }

    /// Returns what a new connection starts with.
    ///
    /// A panic here ends the connection and nothing else.
    fn open_session(&self, peer: &Peer) -> Self::Session;

    /// Whether every connection begins with a [`greeting`](Self::greeting), which a caller then waits
    /// for, and in vain where none is said; `false` unless this is overridden.
    const GREETS: bool = false;

    /// Returns the message that is sent when a connection opens; none unless this is overridden, as
    /// [`GREETS`](Self::GREETS) is then to be.
    fn greeting<'a>(
        &'a self,
        peer: &'a Peer,
        session: &'a mut Self::Session,
    ) -> Option<impl Encode<Self::Format>> {
        let _ = (peer, session);
        None::<NoMessage>
    }

    /// Returns the message that stands for a refusal where the framing has no form for refusals;
    /// none unless this is overridden.
    ///
    /// Without one, the connection closes when what was answered before has been delivered, and the
    /// text of [`RejectionKind::Error`](crate::RejectionKind::Error) is sent as the reply. With one, a
    /// refusal that stands for a reply is answered by it and the connection goes on; behind a final
    /// one ([`is_final`](crate::RejectionKind::is_final)) the connection closes. An
    /// [`Answer::Last`](crate::Answer::Last) closes it in any case, and an
    /// [`Answer::Nothing`](crate::Answer::Nothing) says nothing.
    ///
    /// It is not called for a peer that speaks another protocol (HTTP, TLS, SSH), nor where the
    /// connection ends as planned, behind the last reply. A panic here, or a message that cannot be
    /// sent, closes the connection.
    fn refuse<'a>(&'a self, refusal: &'a Rejection) -> Option<impl Encode<Self::Format>> {
        let _ = refusal;
        None::<NoMessage>
    }

    /// Processes one request: returns its reply, or a rejection.
    ///
    /// You can write it as an `async fn`. A method that never waits need not be one: it keeps the return
    /// type that is declared here, and returns [`std::future::ready`] of its result.
    ///
    /// The requests of one connection are processed one after the other, those of several at the
    /// same time. A panic is the request's failure: the peer is told *failed*, the payload is
    /// logged; unless [`Session`](Self::Session) is `()`, the connection then closes, since the
    /// session may be half-changed.
    ///
    /// # Cancel safety
    ///
    /// A future that waits is dropped when its peer is gone, when a limit is over, or when the server
    /// ends; [`server`](crate::server#what-becomes-of-a-function) has a table of the events.
    fn process_request<'a>(
        &'a self,
        context: Context<'a, Self::Session>,
        request: Self::Request<'a>,
    ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send;

    /// Whether a peer that closes its sending half is gone; `false` unless this is overridden.
    ///
    /// A peer that has closed its connection looks the same as one that waits for its replies with its
    /// sending half closed, as `nc -N` does. So a function that waits goes on for
    /// [`half_close_timeout`](crate::server::Server::half_close_timeout). Where this is `true`, it is
    /// dropped at once, and nothing more is said: use it where no client of the protocol half-closes
    /// and a function waits for what may never come, such as the next element of a queue.
    ///
    /// It does not compile with a framing whose requests end by a half-close
    /// ([`Framing::HALF_CLOSE`]).
    const ENDS_AT_HALF_CLOSE: bool = false;

    /// Whether the future of [`process_request`](Self::process_request) may have to wait.
    ///
    /// The attributes say `false` for functions that are neither `async` nor `blocking`. The server then
    /// polls the future on the stack, where it costs nothing; one that waits all the same is dropped, and
    /// its request fails.
    #[doc(hidden)]
    const WAITS: bool = true;
}

macro_rules! forward_server_protocol {
    ($($pointer:ty),*) => {$(
        impl<P: ServerProtocol> ServerProtocol for $pointer {
            type Framing = P::Framing;
            type Format = P::Format;
            type Session = P::Session;
            type Request<'a> = P::Request<'a>;
            type Reply<'a> = P::Reply<'a>;

            fn framing(&self) -> Self::Framing {
                P::framing(self)
            }

            fn open_session(&self, peer: &Peer) -> Self::Session {
                P::open_session(self, peer)
            }

            const GREETS: bool = P::GREETS;

            fn greeting<'a>(
                &'a self,
                peer: &'a Peer,
                session: &'a mut Self::Session,
            ) -> Option<impl Encode<Self::Format>> {
                P::greeting(self, peer, session)
            }

            fn refuse<'a>(&'a self, refusal: &'a Rejection) -> Option<impl Encode<Self::Format>> {
                P::refuse(self, refusal)
            }

            fn process_request<'a>(
                &'a self,
                context: Context<'a, Self::Session>,
                request: Self::Request<'a>,
            ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send {
                P::process_request(self, context, request)
            }

            const ENDS_AT_HALF_CLOSE: bool = P::ENDS_AT_HALF_CLOSE;

            const WAITS: bool = P::WAITS;
        }
    )*};
}

forward_server_protocol!(Arc<P>, &'static P);

/// What a client says: what it asks, and what it makes of the reply.
///
/// [`#[client_protocol]`](crate::client_protocol) implements it from a function. By hand:
///
/// ```
/// use tcs::{ClientProtocol, Encode, LengthPrefixed, Peer, Plain};
///
/// /// Asks for a greeting and returns its length.
/// struct GreetingLength {
///     name: String,
/// }
///
/// impl ClientProtocol for GreetingLength {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Reply<'a> = &'a str;
///     type Output = usize;
///
///     fn prepare_request(&self) -> impl Encode<Plain> {
///         self.name.as_str()
///     }
///
///     async fn process_reply(self, _peer: &Peer, reply: &str) -> usize {
///         reply.len()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a client protocol",
    label = "not a `ClientProtocol`",
    note = "`#[client_protocol]` on a function `fn print_reply` makes a type `PrintReply`: pass that, with its fields if it has any"
)]
pub trait ClientProtocol: Sized + Send {
    /// How messages are cut out of the byte stream.
    type Framing: Framing;
    /// How a message becomes bytes.
    type Format;
    /// What is answered; it may borrow from the receive buffer.
    type Reply<'a>: Decode<'a, Self::Format>;
    /// What an exchange returns; owned, as the receive buffer is the connection's.
    type Output;

    /// Whether the server begins with a greeting, which is then waited for and dropped; `false` unless
    /// this is overridden.
    const GREETS: bool = false;

    /// Returns the request.
    fn prepare_request(&self) -> impl Encode<Self::Format>;

    /// Makes the output of the reply.
    fn process_reply<'a>(
        self,
        peer: &'a Peer,
        reply: Self::Reply<'a>,
    ) -> impl Future<Output = Self::Output> + Send;
}

/// The messages of a protocol without the code that answers them.
///
/// It is what [`Connection::call`](crate::Connection::call) and
/// `#[client_protocol(server = …)]` need. Every [`ServerProtocol`] is one; a client that should not
/// link the server's code implements it on a type of its own:
///
/// ```
/// use tcs::{Contract, LengthPrefixed, Plain};
///
/// #[derive(Debug)]
/// enum Greet {}
///
/// impl Contract for Greet {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Request<'a> = &'a str;
///     type Reply<'a> = String;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no protocol",
    label = "neither a `ServerProtocol` nor a `Contract`",
    note = "`#[server_protocol]` on a function `fn greet` makes a type `Greet`: name that"
)]
pub trait Contract {
    /// How messages are cut out of the byte stream.
    type Framing: Framing;
    /// How a message becomes bytes.
    type Format;
    /// What is asked.
    type Request<'a>;
    /// What is answered.
    type Reply<'a>;
    /// Whether every connection begins with a greeting; see [`ServerProtocol::GREETS`].
    const GREETS: bool = false;
}

impl<P: ServerProtocol> Contract for P {
    type Framing = P::Framing;
    type Format = P::Format;
    type Request<'a> = P::Request<'a>;
    type Reply<'a> = P::Reply<'a>;
    const GREETS: bool = P::GREETS;
}

/// A [`Contract`] whose requests can be sent and whose replies can be read.
///
/// It saves users of [`Connection::call`](crate::Connection::call) the higher-ranked bounds.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called: its request cannot be sent, or its reply not be read, in its format",
    label = "no request of this protocol can be sent",
    note = "the request of a called protocol has `Encode`, its reply `Decode`"
)]
pub trait Callable: Contract {
    /// What the caller sees of the reply.
    type Value<'a>: Decode<'a, Self::Format>;

    /// Writes a request.
    fn encode(request: Self::Request<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError>;
}

impl<P: Contract> Callable for P
where
    for<'a> P::Request<'a>: Encode<P::Format>,
    for<'a> P::Reply<'a>: Received<'a, P::Format>,
{
    type Value<'a> = <P::Reply<'a> as Received<'a, P::Format>>::Value;

    fn encode(request: Self::Request<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        request.encode(out)
    }
}

/// A [`Callable`] whose replies borrow nothing, so that they outlive the buffer they came in.
///
/// It saves users of [`Channel::call`](crate::Channel::call) the higher-ranked bounds.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called on a channel: its reply borrows, or cannot be read",
    label = "its reply is not owned",
    note = "where a reply borrows, `Channel::call_with` processes it, and `Connection::call` returns it"
)]
pub trait OwnedCallable: Callable {
    /// What the caller sees of the reply.
    type Owned;

    /// Reads a reply.
    fn decode_owned(frame: Frame<'_>) -> Result<Self::Owned, DecodeError>;
}

impl<P: Callable> OwnedCallable for P
where
    P::Value<'static>: for<'a> Decode<'a, P::Format>,
{
    type Owned = P::Value<'static>;

    fn decode_owned(frame: Frame<'_>) -> Result<P::Value<'static>, DecodeError> {
        <P::Value<'static> as Decode<'_, P::Format>>::decode(frame)
    }
}
