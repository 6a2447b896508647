//! Messages that are the bytes that arrive at once.

use super::{Exchanges, FrameError, Framing, Input, ParsedFrame, ReadState, Side};

/// The message is the bytes that arrive at once, as in the Python library for teaching.
///
/// One exchange per connection. The request is the bytes that have arrived when the server wakes,
/// unchanged. So if a client pauses between the pieces of a request, the request ends with the first piece. The reply
/// is everything until the server closes. The text of a function's error is sent as the reply. After any other
/// rejection, the connection closes without a reply, unless the protocol encodes rejections itself (`reject_with = …`).
///
/// A request does not wait for the bytes after it. So only the bytes that have arrived decide whether the
/// peer speaks another protocol.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::Raw, server_protocol};
///
/// #[server_protocol(framing = Raw)]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Raw;

impl Framing for Raw {
    const EXCHANGES: Exchanges = Exchanges::One;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let is_complete = match input.side() {
            Side::Server => input.read_state() != ReadState::MaybeMore && !input.bytes().is_empty(),
            Side::Client => input.read_state() == ReadState::Eof,
        };
        ParsedFrame::whole_input(input, is_complete)
    }
}
