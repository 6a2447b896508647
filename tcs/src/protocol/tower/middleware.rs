//! Services as middleware: the layers of `tower` around a protocol.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use tokio::sync::Mutex;
use tower_service::Service;

use super::{BoxError, to_rejection};
use crate::{
    Rejection,
    protocol::{Context, Middleware, ServerProtocol},
};

/// One call of a protocol: the request type of the services in a [`ServiceMiddleware`].
///
/// The layers of `tower` do not look at it. A layer of your own can read it and change it.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "services make and take it apart")]
pub struct Call<'a, P: ServerProtocol> {
    /// The protocol to call.
    pub protocol: &'a P,
    /// The connection and its session.
    pub context: Context<'a, P::Session>,
    /// The request.
    pub request: P::Request<'a>,
}

/// The innermost service of a [`ServiceMiddleware`]: it calls the protocol.
///
/// It is always ready. Each call allocates its future.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no settings")]
pub struct CallProtocol;

impl<'a, P: ServerProtocol> Service<Call<'a, P>> for CallProtocol {
    type Response = P::Reply<'a>;
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<P::Reply<'a>, Rejection>> + Send + 'a>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Rejection>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<'a, P>) -> Self::Future {
        Box::pin(call.protocol.process_request(call.context, call.request))
    }
}

/// A service as a [`Middleware`]: it receives each request as a [`Call`], and its innermost service is
/// [`CallProtocol`].
///
/// All connections share the service, so a limit of concurrency or of the rate is one of the server. The service need
/// not be `Clone`. A request that finds it not ready waits, and later requests wait after it; with the layer
/// `load_shed`, the service is always ready. Layers that send requests to another task, such as `buffer`, do not
/// compile, because a request borrows from its connection.
///
/// A layer that drops the call of the protocol before its end, such as `timeout`, may leave a session half changed, and
/// the connection continues: see [`Middleware`].
///
/// For an example, see the [module](super). For the errors of layers, see [errors](super#errors).
#[derive(Debug)]
pub struct ServiceMiddleware<S> {
    /// Locked until the service is ready and is called, not while the call runs.
    service: Mutex<S>,
}

impl<S> ServiceMiddleware<S> {
    /// Creates a middleware of a service.
    pub fn new(service: S) -> Self {
        Self {
            service: Mutex::new(service),
        }
    }
}

impl<P, S> Middleware<P> for ServiceMiddleware<S>
where
    P: ServerProtocol,
    S: Send + 'static,
    for<'a> S: Service<Call<'a, P>, Response = P::Reply<'a>, Error: Into<BoxError>, Future: Send>,
{
    async fn process_request<'a>(
        &'a self,
        inner: &'a P,
        context: Context<'a, P::Session>,
        request: P::Request<'a>,
    ) -> Result<P::Reply<'a>, Rejection> {
        let call = Call {
            protocol: inner,
            context,
            request,
        };
        let reply = {
            let mut service = self.service.lock().await;
            poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(to_rejection)?;
            service.call(call)
        };
        reply.await.map_err(to_rejection)
    }
}
