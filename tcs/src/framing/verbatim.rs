//! Bytes as they are, any number of times.

use super::{Detection, FrameError, Framing, Input, ParsedFrame};

/// Bytes as they are: for echo, chargen and telnet, and for the replies of a [`Duplex`](super::Duplex).
///
/// A reply is sent as the function wrote it, so the function writes the end of a reply, if there is one. A request is
/// the bytes that have arrived when the server wakes, up to `max_frame_len` of them: the end of a request has no
/// meaning. A connection has any number of exchanges, unlike with [`Raw`](super::Raw).
///
/// A client of this library gets the bytes that have arrived as the reply, which may be a part of it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Verbatim, server_protocol};
///
/// #[server_protocol(framing = Verbatim)]
/// fn echo(bytes: &[u8]) -> &[u8] {
///     bytes
/// }
///
/// let server = ConcurrentServer::new(Echo).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Echo>(b"one").await?, b"one");
/// assert_eq!(connection.call::<Echo>(b"two").await?, b"two");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Verbatim;

impl Framing for Verbatim {
    // A message may begin with any bytes, and detection would delay those that can become a request line of HTTP.
    const DETECTION: Detection = Detection::OFF;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        match input.bytes().len().min(input.limit()) {
            0 if input.bytes().is_empty() => Ok(None),
            0 => Err(FrameError::too_large(1, 0)),
            length => Ok(Some(ParsedFrame::message(0..length, length))),
        }
    }
}
