//! Messages that are all bytes until the end of the stream.

use super::{Exchanges, FrameError, Framing, Input, ParsedFrame, ReadState, Side};

/// All bytes until the sender closes its half are the message, in both directions.
///
/// `nc -N` sends a file like this. Finger and whois are similar: their clients send a line and read until the server
/// closes. One exchange per connection: the client sends its request and closes its sending half, the server replies
/// and closes. A message has at most `max_frame_len` bytes. If no byte precedes the end, there is no request. A reply
/// may be empty. There is no frame for a rejection: the connection closes.
///
/// A file that begins like an HTTP request, or like the other protocols of
/// [`OtherProtocol`](super::OtherProtocol), cannot be a request, because a browser must be answered
/// before it closes.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, framing::UntilEof, server_protocol};
///
/// #[server_protocol(framing = UntilEof)]
/// fn count_lines(file: &str) -> usize {
///     file.lines().count()
/// }
///
/// let server = ConcurrentServer::new(CountLines).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<CountLines>("one\ntwo\n").await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct UntilEof;

impl Framing for UntilEof {
    const EXCHANGES: Exchanges = Exchanges::OneUntilHalfClose;

    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let is_message = !input.bytes().is_empty() || input.side() == Side::Client;
        ParsedFrame::whole_input(input, input.read_state() == ReadState::Eof && is_message)
    }
}
