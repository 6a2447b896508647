//! Responses other than one ordinary reply.

use super::{Encode, EncodeError, Writer};

/// The return type of a protocol function that can close the connection, send no reply, or start TLS.
///
/// The caller receives `T`.
///
/// # Examples
///
/// ```
/// use tcs::{Response, framing::Lines, server_protocol};
///
/// #[server_protocol(framing = Lines)]
/// fn talk(line: &str) -> Response<&str> {
///     match line {
///         "QUIT" => Response::ReplyAndClose("bye"),
///         "" => Response::NoReply,
///         "ABORT" => Response::Close,
///         other => Response::Reply(other),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Response<T> {
    /// A reply, after which the connection goes on.
    Reply(T),
    /// A reply, after which the server closes the connection. Later requests are not executed, even
    /// if the reply cannot be sent.
    ReplyAndClose(T),
    /// A reply, after which the connection continues over TLS (STARTTLS). The server performs the handshake of
    /// [`Server::start_tls`](crate::server::Server::start_tls), within `handshake_timeout`. If it fails, the
    /// connection is dropped.
    ///
    /// What the peer has sent after this request and before the handshake is dropped, because an attacker may
    /// have added it. The session stays: to forget what came before TLS, as SMTP requires (RFC 3207), reset it in
    /// the function. If the server has no `start_tls`, if the connection is already over TLS, or if it ends after one
    /// exchange, the request fails and the connection closes.
    StartTls(T),
    /// No reply. A client that waits for one reaches its reply timeout, so this is for protocols
    /// whose peers know which requests get no reply.
    NoReply,
    /// No reply, and the server closes the connection without another byte. It sends the replies to
    /// earlier requests. Later requests are not executed.
    Close,
}

impl<Format, T: Encode<Format>> Encode<Format> for Response<T> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::ReplyAndClose(_) | Self::Close => out.close_after(),
            Self::StartTls(_) => out.start_tls_after(),
            Self::Reply(_) | Self::NoReply => {}
        }
        match self {
            Self::Reply(reply) | Self::ReplyAndClose(reply) | Self::StartTls(reply) => {
                reply.encode(out)
            }
            Self::NoReply | Self::Close => {
                out.send_nothing();
                Ok(())
            }
        }
    }
}
