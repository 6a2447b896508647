//! A protocol as a service.

use std::{
    future::ready,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tower_service::Service;

use crate::{
    ConnectionInfo, Peer, Rejection, RejectionKind, Response,
    format::{After, Decode, Encode, Frame, Writer, WriterState},
    framing::Framing,
    protocol::{Context, ServerProtocol},
};

/// A protocol as a service of `tower`, without a server and without a framing.
///
/// The requests and the replies are messages in the format of the protocol, as bytes, because a request may borrow from
/// its message, and a reply from its request, while those of a service are usually owned. For layers around typed
/// requests and replies, which may borrow, see [`ServiceMiddleware`](super::ServiceMiddleware).
///
/// A service is one connection: it has a peer and a session, and processes one request at a time. It is ready again
/// when the future of the last call is done. To share the protocol, pass an `Arc` of it. The service does not send
/// the greeting, and the settings of a server, such as `max_frame_len` and `request_timeout`, do not apply.
///
/// # Errors
///
/// The error is a [`Rejection`]: that of the protocol, an [`Error`](RejectionKind::Error) if the function returns `Err`
/// in [`Plain`](crate::format::Plain), a [`BadRequest`](RejectionKind::BadRequest) if the bytes are not a request, or
/// [`Failed`](RejectionKind::Failed) if the reply cannot be encoded. A panic of the function is not caught.
///
/// # Cancel safety
///
/// Dropping the future of a call drops the function. Unless the session has no size, as `()`, it is lost with it,
/// because it may be half changed. `poll_ready` then returns a [`GoingAway`](RejectionKind::GoingAway): make a new
/// service.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use tcs::{Peer, Response, protocol::tower::ProtocolService, server_protocol};
/// use tower::{Service, ServiceExt};
///
/// #[server_protocol]
/// fn talk(line: &str) -> Response<String> {
///     match line {
///         "QUIT" => Response::ReplyAndClose("bye".to_owned()),
///         line => Response::Reply(format!("{line}?")),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tcs::Rejection> {
/// let mut service = ProtocolService::new(Talk, Peer::unnamed());
/// let response = service.ready().await?.call(Bytes::from("hello")).await?;
/// assert_eq!(response, Response::Reply(Bytes::from("hello?")));
/// let response = service.ready().await?.call(Bytes::from("QUIT")).await?;
/// assert_eq!(response, Response::ReplyAndClose(Bytes::from("bye")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ProtocolService<P: ServerProtocol> {
    shared: Arc<SharedProtocol<P>>,
    /// `None` while a call has it, and after a call has lost it.
    session: Option<P::Session>,
    /// Receives the session when the call that has it is done.
    returned: Option<oneshot::Receiver<P::Session>>,
}

/// What a call and its service share.
#[derive(Debug)]
struct SharedProtocol<P> {
    protocol: P,
    info: ConnectionInfo,
}

impl<P: ServerProtocol> ProtocolService<P> {
    /// Creates a service that calls `protocol` for `peer`. Opens a session.
    pub fn new(protocol: P, peer: Peer) -> Self {
        const {
            assert!(
                !P::Framing::HAS_VALUES,
                "the messages of a `Codec` are not bytes: use `ServiceMiddleware`"
            );
        }
        let info = ConnectionInfo::new(peer);
        let session = Some(protocol.open_session(&info));
        Self {
            shared: Arc::new(SharedProtocol { protocol, info }),
            session,
            returned: None,
        }
    }
}

impl<P: ServerProtocol> Service<Bytes> for ProtocolService<P> {
    /// What a server would send and do. Forward it in the format [`Plain`](crate::format::Plain), or match it.
    type Response = Response<Bytes>;
    type Error = Rejection;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Rejection>> + Send>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Rejection>> {
        if let Some(returned) = &mut self.returned {
            self.session = ready!(Pin::new(returned).poll(cx)).ok();
            self.returned = None;
        }
        let SharedProtocol { protocol, info } = &*self.shared;
        // Nothing of a session without a size can be half changed.
        if self.session.is_none() && size_of::<P::Session>() == 0 {
            self.session = Some(protocol.open_session(info));
        }
        Poll::Ready(if self.session.is_some() {
            Ok(())
        } else {
            let text = "the session was lost with an earlier request";
            Err(Rejection::new(RejectionKind::GoingAway, text))
        })
    }

    fn call(&mut self, request: Bytes) -> Self::Future {
        let Some(mut session) = self.session.take() else {
            let text = "the service was called while it was not ready";
            return Box::pin(ready(Err(Rejection::busy(text))));
        };
        let (sender, returned) = oneshot::channel();
        self.returned = Some(returned);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let response = shared.respond(&mut session, &request).await;
            // An error is the session of a service that was dropped.
            drop(sender.send(session));
            response
        })
    }
}

impl<P: ServerProtocol> SharedProtocol<P> {
    async fn respond(
        &self,
        session: &mut P::Session,
        message: &[u8],
    ) -> Result<Response<Bytes>, Rejection> {
        let mut scratch = Vec::new();
        let frame = Frame::new(message).with_scratch(&mut scratch);
        let request = <P::Request<'_> as Decode<'_, P::Format>>::decode(frame)
            .map_err(|error| Rejection::bad_request(error.to_string()))?;
        let context = Context::new(&self.info, session);
        let reply = self.protocol.process_request(context, request).await?;
        encode::<P::Format>(reply)
    }
}

/// Encodes a reply. The responses are those of the server's `exceptional_reply`.
fn encode<Format>(reply: impl Encode<Format>) -> Result<Response<Bytes>, Rejection> {
    let failed = |text| Rejection::new(RejectionKind::Failed, text);
    let mut buffer = Vec::new();
    let mut after = After::Continue;
    let mut writer = Writer::new(&mut buffer, usize::MAX);
    writer.lend_after(&mut after);
    reply.encode(&mut writer).map_err(|error| {
        tracing::error!(%error, "a reply cannot be encoded");
        failed("the reply cannot be encoded")
    })?;
    match writer.into_state() {
        WriterState::Message => {
            let message = Bytes::from(buffer);
            Ok(match after {
                After::Continue => Response::Reply(message),
                After::Close => Response::ReplyAndClose(message),
                After::StartTls => Response::StartTls(message),
            })
        }
        WriterState::Nothing if after == After::Continue => Ok(Response::NoReply),
        WriterState::Nothing => Ok(Response::Close),
        WriterState::Error(place) => {
            let text = buffer.get(place).unwrap_or_default();
            Err(Rejection::error(String::from_utf8_lossy(text)))
        }
        WriterState::TooLarge(_) => Err(failed("there is no memory for the reply")),
    }
}
