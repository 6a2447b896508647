//! Protocols as their callers see them: the messages, without the code that answers them.

use super::ServerProtocol;
use crate::{
    format::{Decode, DecodeError, Encode, EncodeError, Frame, ReplyValue, Writer},
    framing::Framing,
};

/// The messages of a protocol, without the code that answers them.
///
/// [`Connection::call`](crate::Connection::call) and `#[client_protocol(server = …)]` require it.
/// Every [`ServerProtocol`] implements it. A client that should not link the server's code
/// implements it on its own type:
///
/// ```
/// use tcs::{format::Plain, framing::LengthPrefixed, protocol::Contract};
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
    message = "`{Self}` is not a protocol",
    label = "neither a `ServerProtocol` nor a `Contract`",
    note = "`#[server_protocol]` on a function `fn greet` makes a type `Greet`: name that"
)]
pub trait Contract {
    /// The framing: how messages are separated in the byte stream.
    type Framing: Framing;
    /// The format: how a message is encoded.
    type Format;
    /// The request.
    type Request<'a>;
    /// The reply.
    type Reply<'a>;
    /// Whether every connection begins with a greeting. See [`ServerProtocol::HAS_GREETING`].
    const HAS_GREETING: bool = false;
    /// Distinguishes events from replies, for clients of framings that do not announce events. See
    /// [`ServerProtocol::IS_EVENT`].
    const IS_EVENT: Option<fn(&[u8]) -> bool> = None;
}

impl<P: ServerProtocol> Contract for P {
    type Framing = P::Framing;
    type Format = P::Format;
    type Request<'a> = P::Request<'a>;
    type Reply<'a> = P::Reply<'a>;
    const HAS_GREETING: bool = P::HAS_GREETING;
    const IS_EVENT: Option<fn(&[u8]) -> bool> = P::IS_EVENT;
}

/// A [`Contract`] that a client can call: its requests can be encoded, and its replies can be decoded.
///
/// [`Connection::call`](crate::Connection::call) and [`Pipeline`](crate::client::Pipeline) require this trait. You
/// never implement it: every `Contract`, and thus every [`ServerProtocol`], has it if its messages implement [`Encode`]
/// and [`Decode`]. Use it as a bound of a function that calls any protocol:
///
/// ```
/// use tcs::{Connection, framing::LengthPrefixed, protocol::CallContract};
///
/// /// Calls a protocol, and logs the failure.
/// async fn call<'c, P>(
///     connection: &'c mut Connection<LengthPrefixed>,
///     request: P::Request<'_>,
/// ) -> tcs::Result<P::Value<'c>>
/// where
///     P: CallContract<Framing = LengthPrefixed>,
/// {
///     connection.call::<P>(request).await.inspect_err(|error| eprintln!("{error:?}"))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called: its request cannot be sent, or its reply not be read, in its format",
    label = "no request of this protocol can be sent",
    note = "the request of a called protocol has `Encode`, its reply `Decode`"
)]
pub trait CallContract: Contract {
    /// The reply as the caller receives it: `T` if the function returns [`Response<T>`](crate::Response)
    /// or, in [`Plain`](crate::format::Plain), `Result<T, E>`; otherwise [`Contract::Reply`].
    type Value<'a>: Decode<'a, Self::Format>;

    #[doc(hidden)]
    fn encode(request: Self::Request<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// Returns the request, if it is bytes already.
    #[doc(hidden)]
    fn plain_bytes<'a>(request: &'a Self::Request<'_>) -> Option<&'a [u8]>;
}

impl<P: Contract> CallContract for P
where
    for<'a> P::Request<'a>: Encode<P::Format>,
    for<'a> P::Reply<'a>: ReplyValue<'a, P::Format>,
{
    type Value<'a> = <P::Reply<'a> as ReplyValue<'a, P::Format>>::Value;

    fn encode(request: Self::Request<'_>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        request.encode(out)
    }

    fn plain_bytes<'a>(request: &'a P::Request<'_>) -> Option<&'a [u8]> {
        Encode::<P::Format>::plain_bytes(request)
    }
}

/// A [`CallContract`] whose replies borrow nothing.
///
/// [`Channel::call`](crate::Channel::call) requires this trait, because the receive buffer of a channel is
/// reused before the caller has read the reply. You never implement it. For a reply that borrows, use
/// [`Channel::call_with`](crate::Channel::call_with).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called on a channel: its reply borrows, or cannot be read",
    label = "its reply is not owned",
    note = "where a reply borrows, `Channel::call_with` processes it, and `Connection::call` returns it"
)]
pub trait CallOwned: CallContract {
    /// The reply as the caller receives it: [`CallContract::Value`], which borrows nothing.
    type Owned;

    #[doc(hidden)]
    fn decode_owned(frame: Frame<'_>) -> Result<Self::Owned, DecodeError>;
}

impl<P: CallContract> CallOwned for P
where
    P::Value<'static>: OwnedValue<P::Format> + for<'a> Decode<'a, P::Format>,
{
    type Owned = P::Value<'static>;

    fn decode_owned(frame: Frame<'_>) -> Result<P::Value<'static>, DecodeError> {
        let mut scratch = Vec::new();
        <P::Value<'static> as Decode<'_, P::Format>>::decode(frame.with_scratch(&mut scratch))
    }
}

/// A reply that can be decoded from any buffer, so it borrows nothing.
///
/// This says no more than the bound on [`Decode`] beside it, but it says so in time. By itself, rustc compares the
/// lifetimes last, and reports that an implementation of `Decode` is not general enough. Where two implementations
/// are possible, it compares the lifetimes to choose one. So there is a second one, which never holds. If the reply
/// borrows, neither does the first, and the error is the text below.
#[diagnostic::on_unimplemented(
    message = "a channel cannot return the reply `{Self}`, which borrows",
    label = "use `call_with`, to which you pass a closure that processes the reply",
    note = "a channel reuses its receive buffer before the caller has read the reply; a `Connection` lends its own"
)]
trait OwnedValue<Format> {}

#[diagnostic::do_not_recommend]
impl<Format, T> OwnedValue<Format> for T where T: for<'a> Decode<'a, Format> {}

#[diagnostic::do_not_recommend]
impl<Format, T> OwnedValue<Format> for T where for<'a> (): NeverImplemented<'a> {}

/// A bound that never holds. It has a lifetime, because rustc rejects one that it can decide at once.
trait NeverImplemented<'a> {}
