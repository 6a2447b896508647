//! Parameters that see the states and the session.

use crate::{ConnectionInfo, FromContext, Rejection, protocol::ServerProtocol};

/// A function parameter that is made of the states of a protocol, the session, and the connection.
///
/// It is for what many functions need and only some peers have, such as a login: the parameter is what is left in the
/// session, or a rejection. `P` is the protocol, whose fields are the states. In a module of functions, it is
/// `Protocol`, and the parameter has `#[context]`.
///
/// Every type with [`FromContext`], which sees the connection alone, has this trait. A function that takes its session
/// as `&mut` has only parameters with `FromContext`, because no other can see the session at the same time.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// use tcs::{ConnectionInfo, Rejection, protocol::FromSession, server_protocol};
///
/// #[derive(Default)]
/// pub struct Session {
///     user: Option<String>,
/// }
///
/// /// The user who has logged in on this connection.
/// struct User<'a> {
///     name: &'a str,
///     credit: u64,
/// }
///
/// impl<'a> FromSession<'a, shop::Protocol> for User<'a> {
///     fn from_session(
///         shop: &'a shop::Protocol,
///         session: &'a Session,
///         _info: &'a ConnectionInfo,
///     ) -> Result<Self, Rejection> {
///         let name = session.user.as_ref().ok_or_else(|| Rejection::bad_request("log in first"))?;
///         let credit = shop.credits.get(name).copied().unwrap_or_default();
///         Ok(Self { name, credit })
///     }
/// }
///
/// # #[cfg(feature = "json")]
/// #[server_protocol(format = tcs::format::Json)]
/// mod shop {
///     use super::*;
///
///     pub fn log_in(name: String, #[session] session: &mut Session) {
///         session.user = Some(name);
///     }
///
///     pub fn credit(#[state] credits: &HashMap<String, u64>, #[context] user: User<'_>) -> String {
///         format!("{} of {} users has {}", user.name, credits.len(), user.credit)
///     }
/// }
/// # #[cfg(not(feature = "json"))]
/// # mod shop {
/// #     use super::*;
/// #     pub type Protocol = Shop;
/// #     #[server_protocol]
/// #     fn shop(_: &str, #[state] credits: &HashMap<String, u64>, #[session] _session: &Session, user: User<'_>) -> String {
/// #         format!("{} of {} users has {}", user.name, credits.len(), user.credit)
/// #     }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the request nor known from the connection",
    label = "not a `FromContext` type",
    note = "the request is the first parameter without a helper attribute, and there is one",
    note = "write `#[state]` before what all connections share, `#[session]` before what one keeps",
    note = "any other parameter is `&Peer`, `&ConnectionInfo`, `SocketAddr`, or a type with `FromContext` or `FromSession`"
)]
pub trait FromSession<'a, P: ServerProtocol>: Sized {
    /// Makes the value, or rejects the request.
    fn from_session(
        protocol: &'a P,
        session: &'a P::Session,
        info: &'a ConnectionInfo,
    ) -> Result<Self, Rejection>;
}

impl<'a, P: ServerProtocol, T: FromContext<'a>> FromSession<'a, P> for T {
    fn from_session(
        _protocol: &'a P,
        _session: &'a P::Session,
        info: &'a ConnectionInfo,
    ) -> Result<Self, Rejection> {
        T::from_context(info)
    }
}
