//! Parameters that see the states and the session.

use crate::{ConnectionInfo, FromContext, Rejection, protocol::ServerProtocol};

/// A function parameter that is created from the states of a protocol, the session, and the connection.
///
/// Use it for a value that many functions need and only some peers have, such as the logged-in user: requests of other
/// peers are rejected. `P` is the protocol, whose fields are the states. In a module of functions, `P` is `Protocol`,
/// and the parameter needs `#[context]`.
///
/// Every type that implements [`FromContext`], which sees only the connection, implements this trait. A function that
/// takes its session as `&mut` can only have such parameters, because no other may borrow the session at the same time.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "json")] mod program {
/// use std::collections::HashMap;
///
/// use tcs::{ConnectionInfo, Rejection, format::Json, protocol::FromSession, server_protocol};
///
/// #[derive(Default)]
/// struct Session {
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
/// #[server_protocol(format = Json)]
/// mod shop {
///     use super::*;
///
///     pub fn log_in(name: String, #[session] session: &mut Session) {
///         session.user = Some(name);
///     }
///
///     pub fn credit(#[state] credits: &HashMap<String, u64>, #[context] user: User<'_>) -> String {
///         format!("{} has {}, as one of {}", user.name, user.credit, credits.len())
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # pub async fn main() -> tcs::Result<()> {
/// # let (near, far) = tokio::io::duplex(1024);
/// # let credits = HashMap::from([("Ann".to_owned(), 5)]);
/// # let server = tcs::ConcurrentServer::new(shop::Protocol { credits });
/// # tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
/// # let mut shop = shop::Client::over(tcs::Connection::over(near));
/// # let error = shop.credit().await.expect_err("nobody has logged in");
/// # assert_eq!(error.rejection().map(Rejection::text), Some("log in first"));
/// # shop.log_in("Ann").await?;
/// # assert_eq!(shop.credit().await?, "Ann has 5, as one of 1");
/// # Ok(())
/// # }
/// # }
/// # fn main() {
/// #     #[cfg(feature = "json")]
/// #     program::main().expect("it runs");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the request nor known from the connection",
    label = "not a `FromContext` type",
    note = "the request is the first parameter without a helper attribute, and there is one: a struct or a tuple can hold several values",
    note = "write `#[state]` before what all connections share, `#[session]` before what one keeps",
    note = "any other parameter is `&Peer`, `&ConnectionInfo`, `SocketAddr`, or a type with `FromContext` or `FromSession`"
)]
pub trait FromSession<'a, P: ServerProtocol>: Sized {
    /// Creates the value, or rejects the request. With `concurrent`, the session is in an [`Arc`](std::sync::Arc).
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
