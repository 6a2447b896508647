//! A service as a protocol.

use std::{future::poll_fn, marker::PhantomData};

use tower_service::Service;

use super::{BoxError, to_rejection};
use crate::{
    ConnectionInfo, Peer, Rejection,
    format::{Decode, Encode, Plain},
    framing::{Framing, LengthPrefixed},
    protocol::{Context, ServerProtocol},
};

/// A service of `tower` as a protocol that a server can serve.
///
/// Each connection has its own service, which a closure makes when the connection opens. To share limits and other
/// data, return a clone of a service. The requests are owned, and can be read in the format; the responses can be
/// written in it. The framing is [`LengthPrefixed`] and the format is [`Plain`], unless you choose others.
///
/// Before each request, the connection waits until its service is ready. `request_timeout` limits this wait and the
/// call together. It then drops the call, and closes the connection, whose service may be half changed.
///
/// A panic of the closure ends its connection. For the errors of the service, see [errors](super#errors).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
///
/// use tcs::{ConcurrentServer, framing::Lines, protocol::tower::ServiceProtocol};
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tower::{Service, ServiceBuilder, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let greet = service_fn(|name: String| async move {
///     Ok::<_, Infallible>(format!("Hello, {name}!"))
/// });
/// // The connections share this limit, because they have clones.
/// let service = ServiceBuilder::new().concurrency_limit(100).service(greet);
/// let protocol = ServiceProtocol::new(move |_peer| service.clone()).with_framing::<Lines>();
///
/// # let (mut near, far) = tokio::io::duplex(1024);
/// let server = ConcurrentServer::new(protocol);
/// # let server = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
/// # near.write_all(b"Ann\n").await?;
/// # let mut reply = [0; 12];
/// # near.read_exact(&mut reply).await?;
/// # assert_eq!(&reply, b"Hello, Ann!\n");
/// # drop(near);
/// # assert_eq!(server.await??.requests.served, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ServiceProtocol<Make, Request, F = LengthPrefixed, Format = Plain> {
    make: Make,
    types: Types<Request, F, Format>,
}

type Types<Request, F, Format> = PhantomData<fn() -> (Request, F, Format)>;

impl<Make, Request> ServiceProtocol<Make, Request> {
    /// Creates a protocol whose connections are served by the service that `make` returns for their peer.
    pub const fn new<S>(make: Make) -> Self
    where
        Make: Fn(&Peer) -> S + Send + Sync + 'static,
        S: Service<Request>,
    {
        Self {
            make,
            types: PhantomData,
        }
    }
}

impl<Make, Request, F, Format> ServiceProtocol<Make, Request, F, Format> {
    /// Sets the framing. Default: [`LengthPrefixed`].
    pub fn with_framing<G: Framing>(self) -> ServiceProtocol<Make, Request, G, Format> {
        ServiceProtocol {
            make: self.make,
            types: PhantomData,
        }
    }

    /// Sets the format. Default: [`Plain`].
    pub fn with_format<G>(self) -> ServiceProtocol<Make, Request, F, G> {
        ServiceProtocol {
            make: self.make,
            types: PhantomData,
        }
    }
}

#[diagnostic::do_not_recommend]
impl<Make, S, Request, F, Format> ServerProtocol for ServiceProtocol<Make, Request, F, Format>
where
    Make: Fn(&Peer) -> S + Send + Sync + 'static,
    S: Service<Request, Response: Encode<Format>, Error: Into<BoxError>, Future: Send>,
    S: Send + 'static,
    Request: for<'a> Decode<'a, Format> + Send + 'static,
    F: Framing,
    Format: 'static,
{
    type Framing = F;
    type Format = Format;
    type Session = S;
    type Request<'a> = Request;
    type Reply<'a> = S::Response;

    fn open_session(&self, info: &ConnectionInfo) -> S {
        (self.make)(info.peer())
    }

    async fn process_request(
        &self,
        context: Context<'_, S>,
        request: Request,
    ) -> Result<S::Response, Rejection> {
        let service = context.session;
        poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(to_rejection)?;
        service.call(request).await.map_err(to_rejection)
    }
}
