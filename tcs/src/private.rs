//! What the expansions of the attributes name. Not part of the interface.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "expansions make and match them"
)]

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use serde;
pub use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::__client as client;
pub use crate::__operations as operations;
pub use crate::framing::{FirstFrame, Granularity};
pub use crate::limit::framing_error;
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
pub use crate::operations::{
    Argument, Arguments, Message, Returned, arguments, incomplete, read as read_message,
};
pub use crate::{
    Address, Channel, ClientProtocol, Connection, ConnectionInfo, Context, Contract, Decode,
    DecodeError, Encode, EncodeError, Frame, Framing, FromContext, LengthPrefixed, Peer, Plain,
    Received, Rejection, Result, ServerProtocol, Writer,
};

/// Lets what is generated for operations stand, which needs a format that carries it.
#[cfg(any(feature = "json", feature = "messagepack", feature = "postcard"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __operations {
    ($($tokens:tt)*) => { $($tokens)* };
}

/// Says that no format is there.
#[cfg(not(any(feature = "json", feature = "messagepack", feature = "postcard")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __operations {
    ($($tokens:tt)*) => {
        ::core::compile_error!(
            "operations need a format: add the feature `json`, `postcard` or `messagepack` to `tcs`"
        );
    };
}

/// Declares the client of operations, without its methods for them.
#[doc(hidden)]
#[macro_export]
macro_rules! __client {
    ($client:ident, $framing:ty, $docs:literal) => {
        #[doc = $docs]
        ///
        /// Over a `Connection`, as `connect` makes it, one call follows the other, and a reply may
        /// borrow from the connection. Over a `Channel`, as `share` makes it, many tasks call at a
        /// time, each with a clone; a reply that borrows is processed by a closure.
        ///
        /// A server's greeting is waited for and dropped by the first call over a `Connection`; so call
        /// before you `share`, or receive it yourself and hand the connection to `over`.
        ///
        /// A call fails as `Connection::call` does: then its result is `Err`. Otherwise it is what
        /// the function returned, which may be a `Result` of its own.
        #[derive(Clone, Debug)]
        #[allow(unreachable_pub, reason = "it is as visible as the module")]
        #[must_use]
        pub struct $client<C = $crate::__private::Connection<$framing>> {
            connection: C,
        }

        #[allow(dead_code, unreachable_pub, reason = "it is there for each client")]
        impl $client {
            /// Connects with the default options; for others, see [`over`](Self::over).
            ///
            /// # Errors
            ///
            /// Those of `ConnectOptions::connect`.
            pub async fn connect(
                address: impl ::core::convert::Into<$crate::__private::Address>,
            ) -> $crate::__private::Result<Self> {
                let connection = $crate::__private::Connection::connect(address).await?;
                ::core::result::Result::Ok(Self { connection })
            }
        }

        #[allow(
            dead_code,
            unreachable_pub,
            clippy::missing_const_for_fn,
            reason = "they are there for each client, and it may have something to drop"
        )]
        impl<C> $client<C> {
            /// Calls over a `Connection` or a `Channel` that is there.
            pub const fn over(connection: C) -> Self {
                Self { connection }
            }

            /// Returns the connection.
            #[must_use]
            pub fn into_inner(self) -> C {
                self.connection
            }
        }

        #[allow(dead_code, unreachable_pub, reason = "it is there for each client")]
        impl<S> $client<$crate::__private::Connection<$framing, S>>
        where
            S: $crate::__private::AsyncRead
                + $crate::__private::AsyncWrite
                + ::core::marker::Unpin
                + ::core::marker::Send
                + 'static,
        {
            /// Lets many tasks call, each with a clone.
            ///
            /// # Errors
            ///
            /// Those of `Connection::into_channel`.
            pub fn share(
                self,
            ) -> $crate::__private::Result<$client<$crate::__private::Channel<$framing>>> {
                let connection = self.connection.into_channel()?;
                ::core::result::Result::Ok($client { connection })
            }
        }
    };
}

/// What a field must be for its protocol to serve connections on any thread.
///
/// A trait of our own, so that one error says it instead of one for each of the bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared by connections",
    label = "a state must be `Send + Sync + 'static`",
    note = "connections run on several threads and share each `#[state]`",
    note = "use `Arc` for `Rc`, `Mutex` or an atomic for `Cell` and `RefCell`, and bounds `Send + Sync` on a `dyn` type"
)]
pub trait State: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static + ?Sized> State for T {}

/// Checks that connections can share a type.
pub const fn shared<T: State + ?Sized>() {}

/// What a session and a field of a client protocol must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot move from thread to thread",
    label = "a session, and a field of a client, must be `Send`",
    note = "a connection, and an exchange, may move to another thread: use `Arc` for `Rc`"
)]
pub trait Carried: Send {}

#[diagnostic::do_not_recommend]
impl<T: Send> Carried for T {}

/// Checks that a protocol can carry a type from thread to thread.
pub const fn carried<T: Carried>() {}

/// A message of Protocol Buffers that can be read.
///
/// A trait of our own, so that one error says it instead of one for each of the bounds.
#[cfg(feature = "protobuf")]
pub trait Built: prost::Message + Default {}

#[cfg(feature = "protobuf")]
#[diagnostic::do_not_recommend]
impl<T: prost::Message + Default> Built for T {}

/// A session that a connection can start with.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `Default`, so a connection cannot start its session with it",
    label = "no `Default`",
    note = "write `#[derive(Default)]` on it, or `session = EXPRESSION` in the attribute"
)]
pub trait Start {
    fn start() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> Start for T {
    fn start() -> Self {
        Self::default()
    }
}

/// Returns what is wrong with the parameters of a client protocol's framing.
pub const fn client_mistake<P: ClientProtocol>() -> Option<&'static str> {
    P::Framing::PARAMETER_ERROR
}

/// Reads a type that `plain!` names.
#[inline]
pub fn parse<T>(frame: &Frame<'_>, name: &str) -> Result<T, DecodeError>
where
    T: FromStr<Err: fmt::Display>,
{
    let text = frame.text()?;
    text.parse().map_err(|error| unread(frame, name, &error))
}

#[cold]
fn unread(frame: &Frame<'_>, name: &str, error: &dyn fmt::Display) -> DecodeError {
    let excerpt = frame.excerpt();
    DecodeError::new(format_args!("`{excerpt}` is no {name}: {error}"))
}

/// A message that is made only as it is encoded.
#[derive(Debug)]
pub struct Sending<F>(F);

/// Wraps what makes and encodes a message.
pub fn sending<F>(encode: F) -> Sending<F>
where
    F: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
{
    Sending(encode)
}

impl<Format, F> Encode<Format> for Sending<F>
where
    F: FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
{
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        (self.0)(out)
    }
}

/// Fails, before the program runs, for a framing that tells rejections itself.
pub const fn needs_words<F: Framing>() {
    assert!(
        !F::HAS_REJECTION_FRAME,
        "this framing tells rejections by itself: remove `reject_with`"
    );
}

/// Two types, for questions about them that a macro cannot answer.
///
/// The constants of the type come before those of the traits, where their types hold.
#[derive(Debug)]
pub struct Pair<A, B>(PhantomData<(A, B)>);

impl<T> Pair<T, T> {
    pub const SAME: bool = true;
}

/// The other half of [`Pair`].
pub trait Differs {
    const SAME: bool = false;
}

impl<A, B> Differs for Pair<A, B> {}

/// A type of which the macro asks what it cannot see.
#[derive(Debug)]
pub struct Asked<T>(PhantomData<T>);

#[cfg(feature = "codec")]
impl<C: tokio_util::codec::Decoder> Asked<crate::Codec<C>> {
    pub const IS_CODEC: bool = true;
}

/// The other half of [`Asked`].
pub trait IsNone {
    const IS_CODEC: bool = false;
}

impl<T> IsNone for Asked<T> {}

/// Fails, before the program runs, for a codec that is not framing and format at once.
pub const fn fits(is_framing: bool, is_format: bool, same: bool) {
    assert!(
        !is_framing || is_format,
        "a `Codec` is framing and format at once: write `format = Codec<…>`, too"
    );
    assert!(
        is_framing || !is_format,
        "a `Codec` is framing and format at once: write `framing = Codec<…>`, too"
    );
    assert!(
        same || !is_framing,
        "a `Codec` is framing and format at once: name the same one"
    );
}

/// Stands for the messages of a function that is wrong, so that its type is a protocol all the same.
#[derive(Debug)]
pub enum Unknown {}

impl<Format> Encode<Format> for Unknown {
    fn encode(self, _out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {}
    }
}

impl<Format> Decode<'_, Format> for Unknown {
    fn decode(_frame: Frame<'_>) -> Result<Self, DecodeError> {
        Err(DecodeError::new("the protocol function does not compile"))
    }
}

/// A field as the request expression of a client sees it: a copy where its type is `Copy`, else a
/// reference.
///
/// The method of the type comes before that of the trait, where its bound holds.
#[derive(Debug)]
pub struct Field<'a, T>(pub &'a T);

impl<T: Copy> Field<'_, T> {
    /// Returns the value.
    pub const fn seen(&self) -> T {
        *self.0
    }
}

/// The other half of [`Field`].
pub trait Seen<'a, T> {
    /// Returns the reference.
    fn seen(&self) -> &'a T;
}

impl<'a, T> Seen<'a, T> for Field<'a, T> {
    fn seen(&self) -> &'a T {
        self.0
    }
}

/// A parameter by value of a function that makes requests; the protocol keeps its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Clone`, so a request cannot be made of it",
    label = "no `Clone`",
    note = "the protocol keeps its field while the function makes the request: borrow the parameter (`&T`)"
)]
pub trait Lent {
    #[must_use]
    fn lend(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> Lent for T {
    fn lend(&self) -> Self {
        self.clone()
    }
}

/// The reply of a server, as a client takes it: what borrows can be taken as a copy.
#[diagnostic::on_unimplemented(
    message = "the server's reply is `{Self}`, which cannot be taken as `{T}`",
    label = "not what the server replies"
)]
pub trait Taken<T> {}

#[diagnostic::do_not_recommend]
impl<T> Taken<T> for T {}
#[diagnostic::do_not_recommend]
impl<T> Taken<T> for &T {}
#[diagnostic::do_not_recommend]
impl<T> Taken<Vec<T>> for &[T] {}
#[diagnostic::do_not_recommend]
impl Taken<String> for &str {}
#[diagnostic::do_not_recommend]
impl Taken<String> for Cow<'_, str> {}

/// Checks that the reply `R` of a server can be taken as a `T`.
pub const fn taken<'a, R, T, Format>()
where
    R: Received<'a, Format, Value: Taken<T>>,
{
}

/// Awaits what a function returned.
///
/// A future that is not `Send` is one error at this call, in which the function is named.
pub const fn send<F: Future + Send>(future: F) -> F {
    future
}

/// A state as an operation has it, where most operations have it as `Usual`.
#[diagnostic::on_unimplemented(
    message = "another operation has a state of this name as `{Usual}`: rename one",
    label = "a state of one name is one field of the protocol"
)]
pub trait SameState<Usual: ?Sized> {
    /// Returns the state.
    fn of(state: &Usual) -> &Self;
}

impl<T: ?Sized> SameState<T> for T {
    fn of(state: &T) -> &T {
        state
    }
}

/// A session as an operation has it, where most operations have it as `Usual`.
#[diagnostic::on_unimplemented(
    message = "a connection has one session, which another operation has as `{Usual}`",
    label = "put both into one struct"
)]
pub trait SameSession<Usual> {
    /// Returns the session.
    fn of(session: &mut Usual) -> &mut Self;
}

impl<T> SameSession<T> for T {
    fn of(session: &mut T) -> &mut T {
        session
    }
}
