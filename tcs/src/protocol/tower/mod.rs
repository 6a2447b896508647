//! Protocols as services of the crate `tower`, and services as protocols (feature `tower`).
//!
//! | you have | and want | use |
//! |---|---|---|
//! | a protocol | layers of `tower` around its function | [`ServiceMiddleware`], with [`wrap`] |
//! | a protocol | to call it without a server, such as behind another transport | [`ProtocolService`] |
//! | a service | to serve it over TCP | [`ServiceProtocol`] |
//! | a [`Channel`](crate::Channel) | layers of `tower` around a client | [`Channel::service`](crate::Channel::service) |
//!
//! For a middleware of your own, you do not need this module: implement [`Middleware`].
//!
//! # Layers around a protocol
//!
//! Build a stack of layers around [`CallProtocol`], and [`wrap`] the protocol in it. Requests and replies may borrow,
//! as without layers. This server processes 100 requests at a time, for at most 2 s each, and rejects others as
//! *busy*:
//!
//! ```
//! use std::time::Duration;
//!
//! use tcs::{
//!     ConcurrentServer, Connection, Rejection,
//!     protocol::{
//!         tower::{CallProtocol, ServiceMiddleware},
//!         wrap,
//!     },
//!     server_protocol,
//! };
//! use tower::{BoxError, ServiceBuilder, load_shed::error::Overloaded};
//!
//! #[server_protocol]
//! async fn greet(name: &str) -> String {
//!     format!("Hello, {name}!")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> tcs::Result<()> {
//! let layers = ServiceBuilder::new()
//!     .map_err(|error: BoxError| match error.downcast::<Overloaded>() {
//!         Ok(_) => Rejection::busy("100 requests are in flight").into(),
//!         Err(error) => error,
//!     })
//!     .load_shed()
//!     .concurrency_limit(100)
//!     .timeout(Duration::from_secs(2))
//!     .service(CallProtocol);
//!
//! let (near, far) = tokio::io::duplex(1024);
//! let server = ConcurrentServer::new(wrap(Greet, ServiceMiddleware::new(layers)));
//! let server = tokio::spawn(server.serve_stream(far, tcs::Peer::unnamed()));
//! assert_eq!(Connection::over(near).call::<Greet>("Ann").await?, "Hello, Ann!");
//! # assert_eq!(server.await.expect("no panic")?.requests.served, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! An error of a layer or a service becomes a [`Rejection`]. One that is a [`Rejection`], also in a box, keeps its
//! kind. Any other becomes a [`RejectionKind::Error`](crate::RejectionKind::Error) with its text, which the peer
//! receives. Map it as above if the peer must not see the text, or should know that its request was not executed.
//!
//! # Adaptive limits
//!
//! How many requests a server can process at a time depends on what they wait for, and changes. The crate `tower-acc`
//! has a layer that measures how long requests take, and changes its limit accordingly. `examples/adaptive.rs` rejects
//! requests beyond it.
//!
//! [`Middleware`]: crate::protocol::Middleware
//! [`Rejection`]: crate::Rejection
//! [`wrap`]: crate::protocol::wrap

mod middleware;
mod protocol_service;
mod service_protocol;

use std::error::Error;

pub use middleware::{Call, CallProtocol, ServiceMiddleware};
pub use protocol_service::ProtocolService;
pub use service_protocol::ServiceProtocol;

use crate::{Rejection, text::Text};

type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the rejection that an error of a service is, or makes one of it.
fn to_rejection(error: impl Into<BoxError>) -> Rejection {
    match error.into().downcast() {
        Ok(rejection) => *rejection,
        Err(error) => Rejection::error(Text::new(error).raw()),
    }
}
