//! A reply that says more than its value.

use super::{Encode, EncodeError, Plain, Received, Writer};

/// What a protocol function returns to close the connection after a reply, or to send none.
///
/// Callers see `T`.
///
/// # Examples
///
/// ```
/// use tcs::{Response, Lines, server_protocol};
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
#[expect(clippy::exhaustive_enums, reason = "there are no other ways to answer")]
pub enum Response<T> {
    /// A reply.
    Reply(T),
    /// A reply, after which the server closes the connection. Later requests are not executed.
    ReplyAndClose(T),
    /// No reply. A client that waits for one runs into its reply timeout, so this is for protocols
    /// whose peers know which requests are not answered.
    NoReply,
    /// No reply, and the server closes the connection without another byte. Replies to earlier requests are
    /// sent. Later requests are not executed.
    Close,
}

impl<Format, T: Encode<Format>> Encode<Format> for Response<T> {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Reply(reply) => reply.encode(out),
            Self::ReplyAndClose(reply) => {
                reply.encode(out)?;
                out.last();
                Ok(())
            }
            Self::NoReply => {
                out.nothing();
                Ok(())
            }
            Self::Close => {
                out.nothing();
                out.last();
                Ok(())
            }
        }
    }
}

// One implementation per format: a blanket one would conflict with that for all `Decode` types.
macro_rules! received {
    ($format:ty) => {
        impl<'a, T: Received<'a, $format>> Received<'a, $format> for Response<T> {
            type Value = T::Value;
        }
    };
}

received!(Plain);
#[cfg(feature = "json")]
received!(super::Json);
#[cfg(feature = "messagepack")]
received!(super::MessagePack);
#[cfg(feature = "postcard")]
received!(super::Postcard);
#[cfg(feature = "protobuf")]
received!(super::Protobuf);
