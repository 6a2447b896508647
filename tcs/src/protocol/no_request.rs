//! Protocols in which only the server speaks.

use super::ServerProtocol;
use crate::{
    format::{Decode, DecodeError, Frame},
    framing::Framing as _,
};

/// The request of a protocol in which only the server speaks, such as daytime, chargen, the quote of the day or
/// HAProxy's agent-check.
///
/// The function is called once for each connection, after the handshakes and the greeting, without waiting for a byte
/// from the client. After the reply, the server closes the connection; a function that sends
/// [`Replies`](super::Replies) can continue for as long as the client reads.
///
/// Input from the client is dropped, for at most [`linger`](crate::server::Server::linger) after the reply. If the
/// client closes its sending half, as `nc localhost 13 < /dev/null` does, the function may continue for
/// [`half_close_timeout`](crate::server::Server::half_close_timeout). A reset drops it.
///
/// `NoRequest` works with every format, but not with `concurrent`, or with a framing that has ids or values
/// ([`Multiplexed`](crate::framing::Multiplexed), `Codec`). Clients of this library cannot call such a function,
/// because they send a request first.
///
/// # Examples
///
/// ```
/// use tcs::{OnceServer, framing::CrlfText, protocol::NoRequest, server_protocol};
/// use tokio::io::AsyncReadExt;
///
/// #[server_protocol(framing = CrlfText)]
/// fn quote(_: NoRequest) -> &'static str {
///     "Simplicity is prerequisite for reliability."
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut near, far) = tokio::io::duplex(1024);
/// let server = tokio::spawn(OnceServer::new(Quote).serve_stream(far, tcs::Peer::unnamed()));
/// let mut quote = String::new();
/// near.read_to_string(&mut quote).await?;
/// assert_eq!(quote, "Simplicity is prerequisite for reliability.\r\n");
/// # drop(near);
/// # assert_eq!(server.await??.requests.served, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it has no fields")]
pub struct NoRequest;

impl<Format> Decode<'_, Format> for NoRequest {
    fn decode(_frame: Frame<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }

    const IS_ABSENT: bool = true;
}

/// Returns `true` if the function is called without a request.
pub(crate) const fn has_no_request<P: ServerProtocol>() -> bool {
    <P::Request<'static> as Decode<'static, P::Format>>::IS_ABSENT
}

/// Returns `true` if the connection closes after its first reply.
pub(crate) const fn has_one_exchange<P: ServerProtocol>() -> bool {
    has_no_request::<P>() || !P::Framing::EXCHANGES.are_many()
}
