//! Middleware: code around the function of a protocol.

use std::time::Instant;

use crate::{
    ConnectionInfo, Peer, Rejection,
    format::Encode,
    protocol::{Context, ServerProtocol, forward_server_protocol},
};

/// Code that runs around the function of a protocol `P`, for [`wrap`].
///
/// Its method receives each request with its context, and calls the inner protocol or rejects the request. Implement it
/// for every `P: ServerProtocol`, or for one protocol to read its requests and replies. Copy the signature with the
/// lifetime `'a` from the example: requests and replies may borrow.
///
/// An `Err` is a rejection, as in [`FromContext`](crate::protocol::FromContext). An `Err` of the function itself is a
/// reply. A reply may not be `Send`, so do not hold one across an `.await`.
///
/// # Cancel safety
///
/// The future is dropped like that of the function: see [`server`](crate::server#what-becomes-of-a-function).
///
/// If the protocol has a session, do not drop the future of the inner protocol before its end, as a timeout does: the
/// session may be half changed. Set [`request_timeout`](crate::server::Server::request_timeout) instead, which also
/// closes the connection.
///
/// # Examples
///
/// Limits the requests in flight of any protocol, and rejects others as *busy*:
///
/// ```
/// use tcs::{
///     ConcurrentServer, Connection, Rejection,
///     protocol::{Context, Middleware, ServerProtocol, wrap},
///     server_protocol,
/// };
/// use tokio::sync::Semaphore;
///
/// struct Limit(Semaphore);
///
/// impl<P: ServerProtocol> Middleware<P> for Limit {
///     async fn process_request<'a>(
///         &'a self,
///         inner: &'a P,
///         context: Context<'a, P::Session>,
///         request: P::Request<'a>,
///     ) -> Result<P::Reply<'a>, Rejection> {
///         let permit = self.0.try_acquire();
///         let _permit = permit.map_err(|_| Rejection::busy("too many requests in flight"))?;
///         inner.process_request(context, request).await
///     }
/// }
///
/// #[server_protocol]
/// async fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let (near, far) = tokio::io::duplex(1024);
/// let server = ConcurrentServer::new(wrap(Greet, Limit(Semaphore::new(100))));
/// let server = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
/// assert_eq!(Connection::over(near).call::<Greet>("Ann").await?, "Hello, Ann!");
/// # assert_eq!(server.await.expect("no panic")?.requests.served, 1);
/// # Ok(())
/// # }
/// ```
///
/// Logs the requests of one protocol:
///
/// ```
/// # use std::time::Instant;
/// # use tcs::{Rejection, protocol::{Context, Middleware, ServerProtocol}, server_protocol};
/// # #[server_protocol]
/// # fn greet(name: &str) -> String {
/// #     format!("Hello, {name}!")
/// # }
/// struct Log;
///
/// impl Middleware<Greet> for Log {
///     async fn process_request<'a>(
///         &'a self,
///         inner: &'a Greet,
///         context: Context<'a, ()>,
///         name: &'a str,
///     ) -> Result<String, Rejection> {
///         let (peer, began) = (context.peer(), Instant::now());
///         let reply = inner.process_request(context, name).await;
///         println!("{peer} {name:?} {:?}", began.elapsed());
///         reply
///     }
/// }
/// # let _ = tcs::protocol::wrap(Greet, Log);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware for the protocol `{P}`",
    label = "no `Middleware<{P}>`",
    note = "write `impl<P: ServerProtocol> Middleware<P> for {Self}` for every protocol; a layer of `tower` is one in a `tcs::protocol::tower::ServiceMiddleware`"
)]
pub trait Middleware<P: ServerProtocol>: Send + Sync + 'static {
    /// Processes one request, usually with [`process_request`](ServerProtocol::process_request) of `inner`.
    fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> impl Future<Output = Result<P::Reply<'a>, Rejection>> + Send;
}

/// A middleware that logs each request at `TRACE`, when its function has returned.
///
/// The event `processed a request` has the fields `operation`, if the protocol is a module; `seconds`; and `rejection`,
/// if there is one. Without it, servers do not log single requests, because even disabled logging would slow each of
/// them down.
///
/// ```
/// # #[tcs::server_protocol]
/// # fn greet(name: &str) -> String { format!("Hello, {name}!") }
/// use tcs::{ConcurrentServer, protocol::{TraceRequests, wrap}};
///
/// let server = ConcurrentServer::new(wrap(Greet, TraceRequests));
/// # drop(server);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct TraceRequests;

impl<P: ServerProtocol> Middleware<P> for TraceRequests {
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        let operation = P::OPERATIONS.get(P::operation(&request));
        let began = Instant::now();
        let reply = inner.process_request(context, request).await;
        let seconds = began.elapsed().as_secs_f64();
        let rejection = reply.as_ref().err().map(tracing::field::display);
        tracing::trace!(operation, seconds, rejection, "processed a request");
        reply
    }
}

/// Wraps a protocol in a [`Middleware`].
///
/// The result is a protocol with the same messages, sessions, greeting and options. Wrap it again to add another
/// middleware, which then runs first. Clients call it as [`Wrapped<P, M>`](Wrapped) or as `P`, which is the same to
/// them.
///
/// Requests that cannot be decoded, or that a limit of the server rejects, do not reach the middleware.
pub const fn wrap<P, M>(protocol: P, middleware: M) -> Wrapped<P, M>
where
    P: ServerProtocol,
    M: Middleware<P>,
{
    Wrapped {
        protocol,
        middleware,
    }
}

/// A protocol in a middleware. Created by [`wrap`].
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<P, M> {
    protocol: P,
    middleware: M,
}

#[diagnostic::do_not_recommend]
impl<P: ServerProtocol, M: Middleware<P>> ServerProtocol for Wrapped<P, M> {
    forward_server_protocol!(P, self => &self.protocol);

    fn process_request<'a>(
        &'a self,
        context: Context<'a, Self::Session>,
        request: Self::Request<'a>,
    ) -> impl Future<Output = Result<Self::Reply<'a>, Rejection>> + Send {
        self.middleware
            .process_request(&self.protocol, context, request)
    }

    // The middleware may wait around a function that does not.
    const WAITS: bool = true;
}
