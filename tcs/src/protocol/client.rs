//! Protocols of clients: a request, and the function that processes its reply.

use crate::{
    Peer,
    format::{Decode, Encode},
    framing::Framing,
};

/// A client's protocol: its request, and the function that processes the reply.
///
/// [`#[client_protocol]`](crate::client_protocol) implements this trait from a function. To
/// implement it by hand:
///
/// ```
/// use tcs::{Peer, format::{Encode, Plain}, framing::LengthPrefixed, protocol::ClientProtocol};
///
/// /// Asks for a greeting and returns its length.
/// struct GreetingLength {
///     name: String,
/// }
///
/// impl ClientProtocol for GreetingLength {
///     type Framing = LengthPrefixed;
///     type Format = Plain;
///     type Reply<'a> = &'a str;
///     type Output = usize;
///
///     fn prepare_request(&self) -> impl Encode<Plain> {
///         self.name.as_str()
///     }
///
///     async fn process_reply(self, _peer: &Peer, reply: &str) -> usize {
///         reply.len()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a client protocol",
    label = "not a `ClientProtocol`",
    note = "`#[client_protocol]` on a function `fn print_reply` makes a type `PrintReply`: pass that, with its fields if it has any",
    note = "a type that `#[server_protocol]` makes is named in a call: `connection.call::<Greet>(request)`"
)]
pub trait ClientProtocol: Sized + Send {
    /// The framing: how messages are separated in the byte stream.
    type Framing: Framing;
    /// The format: how a message is encoded.
    type Format;
    /// The reply. It may borrow from the receive buffer.
    type Reply<'a>: Decode<'a, Self::Format>;
    /// The result of an exchange. It is owned, because the receive buffer belongs to the
    /// connection.
    type Output;

    /// Whether the server begins with a greeting. If `true`, the client waits for it and drops it.
    ///
    /// Default: `false`.
    const HAS_GREETING: bool = false;

    /// Returns the request.
    fn prepare_request(&self) -> impl Encode<Self::Format>;

    /// Processes the reply, and returns the output.
    fn process_reply<'a>(
        self,
        peer: &'a Peer,
        reply: Self::Reply<'a>,
    ) -> impl Future<Output = Self::Output> + Send;
}
