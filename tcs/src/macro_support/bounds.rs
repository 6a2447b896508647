//! What expansions require of types. Each trait is one of our own, so that there is one error instead of
//! one for each of its bounds, and that error says what to write.

use std::{borrow::Cow, marker::PhantomData};

use crate::{
    Channel, Connection, ConnectionInfo, FromContext, Rejection, blocking,
    format::{Decode, ReplyValue},
    framing::Framing,
};

/// A state, which connections on any thread share.
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
pub const fn assert_state<T: State + ?Sized>() {}

/// A session, which the requests of a connection share because they run side by side.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared by the requests of a connection",
    label = "under `concurrent`, a session must be `Send + Sync`",
    note = "requests run side by side and share the `#[session]`: use `Mutex` or an atomic for `Cell` and `RefCell`"
)]
pub trait SharedSession: Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync> SharedSession for T {}

/// Checks that the requests of a connection can share a type.
pub const fn assert_shared_session<T: SharedSession>() {}

/// A session, or a field of a client protocol.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot move from thread to thread",
    label = "a session, and a field of a client, must be `Send`",
    note = "a connection, and an exchange, may move to another thread: use `Arc` for `Rc`"
)]
pub trait SendField: Send {}

#[diagnostic::do_not_recommend]
impl<T: Send> SendField for T {}

/// Checks that a type can move from thread to thread.
pub const fn assert_send_field<T: SendField>() {}

/// A session without an option `session`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `Default`, so a connection cannot start its session with it",
    label = "no `Default`",
    note = "write `#[derive(Default)]` on it, or `session = EXPRESSION` in the attribute"
)]
pub trait DefaultSession {
    fn default_session() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> DefaultSession for T {
    fn default_session() -> Self {
        Self::default()
    }
}

/// A parameter beside a session that is lent as `&mut`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made beside a session that is lent as `&mut`",
    label = "not a `FromContext` type",
    note = "a type with `FromSession` borrows the session, which this function has as `&mut`: take the session as `&` (a `Mutex` inside it can change), or leave one of them out",
    note = "write `#[state]` before what all connections share",
    note = "any other parameter is `&Peer`, `&ConnectionInfo`, `SocketAddr`, or a type with `FromContext`",
    note = "outside of a module, the request is the first parameter without a helper attribute, and there is one: a struct or a tuple can hold several values"
)]
pub trait FromContextAlone<'a>: Sized {
    fn from_context_alone(info: &'a ConnectionInfo) -> Result<Self, Rejection>;
}

#[diagnostic::do_not_recommend]
impl<'a, T: FromContext<'a>> FromContextAlone<'a> for T {
    fn from_context_alone(info: &'a ConnectionInfo) -> Result<Self, Rejection> {
        T::from_context(info)
    }
}

/// The session `S`, which the functions of a module share.
#[diagnostic::on_unimplemented(
    message = "the functions of a module share one session: this one has `{Self}`, others have `{S}`",
    label = "another session",
    note = "a connection has one session: put both into one struct"
)]
pub trait SameSession<S> {
    fn shared(session: &S) -> &Self;
    fn exclusive(session: &mut S) -> &mut Self;
}

#[diagnostic::do_not_recommend]
impl<S> SameSession<S> for S {
    fn shared(session: &S) -> &S {
        session
    }

    fn exclusive(session: &mut S) -> &mut S {
        session
    }
}

/// The framing `F` of a connection, which a function changes.
#[diagnostic::on_unimplemented(
    message = "the function changes the framing `{Self}`, and the connection has `{F}`",
    label = "another framing",
    note = "write the same type in the option `framing` of the attribute"
)]
pub trait ChangedFraming<F> {
    fn changed(framing: &mut F) -> &mut Self;
}

#[diagnostic::do_not_recommend]
impl<F> ChangedFraming<F> for F {
    fn changed(framing: &mut F) -> &mut F {
        framing
    }
}

/// What the client of a module, whose framing is `F`, calls over. A framing that is inferred becomes it.
#[diagnostic::on_unimplemented(
    message = "the operations need a connection or channel with the framing `{F}`",
    label = "another framing, or no `Connection` or `Channel`",
    note = "write `Channel<{F}>`, or change the option `framing` of the module"
)]
pub trait CallsOver<F: Framing>: WithFraming {
    fn over(self) -> Self::With<F>;
}

/// A connection or channel.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a connection nor a channel",
    label = "no `Connection` or `Channel`"
)]
pub trait WithFraming {
    /// This type with another framing: so a client over the wrong framing has its methods, and a call causes no further
    /// error.
    type With<F: Framing>;
}

macro_rules! calls_over {
    ($($ty:ident $(:: $inner:ident)?;)*) => {$(
        impl<Own: Framing> WithFraming for $ty$(::$inner)?<Own> {
            type With<F: Framing> = $ty$(::$inner)?<F>;
        }

        #[diagnostic::do_not_recommend]
        impl<F: Framing> CallsOver<F> for $ty$(::$inner)?<F> {
            fn over(self) -> Self {
                self
            }
        }
    )*};
}

calls_over! {
    Connection;
    Channel;
    blocking::Connection;
    blocking::Channel;
}

/// A parameter by value of a function that makes requests. The protocol keeps its field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Clone`, so a request cannot be made of it",
    label = "no `Clone`",
    note = "the protocol keeps its field while the function makes the request: borrow the parameter (`&T`)"
)]
pub trait CloneArgument {
    #[must_use]
    fn clone_argument(&self) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Clone> CloneArgument for T {
    fn clone_argument(&self) -> Self {
        self.clone()
    }
}

/// The reply of a server that a client can read as a `T`: what borrows can be read as a copy.
#[diagnostic::on_unimplemented(
    message = "the server's reply is `{Self}`, which cannot be taken as `{T}`",
    label = "not what the server replies"
)]
pub trait ReadAs<T> {}

#[diagnostic::do_not_recommend]
impl<T> ReadAs<T> for T {}
#[diagnostic::do_not_recommend]
impl<T> ReadAs<T> for &T {}
#[diagnostic::do_not_recommend]
impl<T> ReadAs<Vec<T>> for &[T] {}
#[diagnostic::do_not_recommend]
impl ReadAs<String> for &str {}
#[diagnostic::do_not_recommend]
impl ReadAs<String> for Cow<'_, str> {}

/// Checks that the reply `R` of a server can be read as a `T`. If no reply can be, there is an error about that, and the
/// check is that of [`ReplyCheckFallback`].
#[derive(Debug)]
pub struct ReplyCheck<'a, R, T, Format>(PhantomData<&'a (R, T, Format)>);

impl<'a, R, T: Decode<'a, Format>, Format> ReplyCheck<'a, R, T, Format> {
    pub const fn assert()
    where
        R: ReplyValue<'a, Format, Value: ReadAs<T>>,
    {
    }
}

pub trait ReplyCheckFallback {
    fn assert() {}
}

impl<R, T, Format> ReplyCheckFallback for ReplyCheck<'_, R, T, Format> {}
