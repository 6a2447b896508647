//! Requests of many messages.

/// A protocol whose requests are followed by a stream of chunks.
///
/// The option `requests = Chunk<'_>` of [`#[server_protocol]`](crate::server_protocol) implements it. By hand:
///
/// ```
/// use tcs::{format::Plain, protocol::Receives};
///
/// /// Names the chunks.
/// enum Upload {}
///
/// impl Receives for Upload {
///     type Format = Plain;
///     type Chunk<'a> = &'a [u8];
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` receives no chunks after its request",
    label = "no `Receives`",
    note = "add the type of the chunks to the attribute of its function: `#[server_protocol(requests = Chunk<'_>)]`"
)]
pub trait Receives {
    /// The format of the chunks.
    type Format;
    /// A chunk. It may borrow.
    type Chunk<'a>;
}
