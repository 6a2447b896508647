//! The end of the connection ends the message.

use super::{
    Arrival, FrameError, Framing, ParsedFrame, Side, Unparsed,
    contact::{Contact, Unit},
};

/// Everything until the sender closes its half is the message, both ways.
///
/// This is what `nc -N` speaks with a file, and close to finger and whois, whose clients send a
/// line and wait for everything until the server closes. One exchange per connection: the client
/// sends its request and closes its sending half, the server replies and closes. A message has at
/// most `max_frame_len` bytes. Without a byte before the end there is no request; a reply may be
/// empty. Refusals cannot be told: the connection closes.
///
/// A file that begins like an HTTP request, or like the other protocols of [`OtherProtocol`], cannot be a
/// request: a browser must be answered before it closes, and is.
///
/// [`OtherProtocol`]: super::OtherProtocol
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, UntilEof, server_protocol};
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
pub struct UntilEof {
    contact: Contact,
}

impl Framing for UntilEof {
    const PERSISTENT: bool = false;
    const HALF_CLOSE: bool = true;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.contact.parse(input, Unit::Other, next)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }
}

fn next(input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
    let length = input.bytes().len();
    if length > input.limit() {
        return Err(FrameError::too_large(length, input.limit()));
    }
    let is_message = length > 0 || input.side() == Side::Client;
    let complete = input.arrival() == Arrival::Ended && is_message;
    Ok(complete.then(|| ParsedFrame::message(0..length, length)))
}
