//! Responses other than one ordinary reply.

use super::{Encode, EncodeError, Writer};

/// The return type of a protocol function that can close the connection, or send no reply.
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
#[expect(clippy::exhaustive_enums, reason = "there are no other responses")]
pub enum Response<T> {
    /// A reply, after which the connection goes on.
    Reply(T),
    /// A reply, after which the server closes the connection. Later requests are not executed, even
    /// if the reply cannot be sent.
    ReplyAndClose(T),
    /// No reply. A client that waits for one reaches its reply timeout, so this is for protocols
    /// whose peers know which requests get no reply.
    NoReply,
    /// No reply, and the server closes the connection without another byte. It sends the replies to
    /// earlier requests. Later requests are not executed.
    Close,
}

impl<Format, T: Encode<Format>> Encode<Format> for Response<T> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        if matches!(self, Self::ReplyAndClose(_) | Self::Close) {
            out.close_after();
        }
        match self {
            Self::Reply(reply) | Self::ReplyAndClose(reply) => reply.encode(out),
            Self::NoReply | Self::Close => {
                out.send_nothing();
                Ok(())
            }
        }
    }
}
