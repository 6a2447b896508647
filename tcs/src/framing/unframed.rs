//! No frames at all: what arrives, or all that arrives, is the message.

use super::{
    Framing,
    parse::{Arrival, FrameError, Granularity, ParsedFrame, Side, Unparsed},
};

/// What arrives is the message: the wire of the Python teaching library, and of toys.
///
/// One exchange per connection. The request is what has arrived when the server wakes, its bytes
/// untouched, so a request that is sent in pieces with pauses between them is cut after the first
/// piece; the reply is everything until the server closes. Refusals cannot be told: the connection
/// closes, unless the protocol words them (`refuse = …`).
///
/// A message never waits for more bytes, so of all framings this is the one where it depends on the
/// pieces whether another protocol is detected: what has arrived is judged by itself.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, Raw, server_protocol};
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

/// Everything until the sender closes its half is the message, both ways.
///
/// This is what `nc -N` speaks with a file, and close to finger and whois, whose clients send a
/// line and wait for everything until the server closes. One exchange per connection: the client
/// sends its request and closes its sending half, the server replies and closes. A message has at
/// most `max_frame_len` bytes. Without a byte before the end there is no request; a reply may be
/// empty. Refusals cannot be told: the connection closes.
///
/// A file that begins like an HTTP request, or like the other protocols of
/// [`OtherProtocol`](super::OtherProtocol), cannot be a request: a browser must be answered before it
/// closes, and is.
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
#[non_exhaustive]
pub struct UntilEof;

impl Framing for Raw {
    const PERSISTENT: bool = false;
    const GRANULARITY: Granularity = Granularity::AtOnce;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let is_empty = input.bytes().is_empty();
        let is_complete = match (input.side(), input.arrival()) {
            (Side::Server, Arrival::Filled) | (Side::Client, Arrival::Filled | Arrival::Paused) => {
                false
            }
            (Side::Server, Arrival::Paused | Arrival::Ended) => !is_empty,
            (Side::Client, Arrival::Ended) => true,
        };
        everything(input, is_complete)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }
}

impl Framing for UntilEof {
    const PERSISTENT: bool = false;
    const HALF_CLOSE: bool = true;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let is_message = !input.bytes().is_empty() || input.side() == Side::Client;
        everything(input, input.arrival() == Arrival::Ended && is_message)
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }
}

/// Returns all bytes as one message, if that is complete.
fn everything(input: Unparsed<'_>, is_complete: bool) -> Result<Option<ParsedFrame>, FrameError> {
    let length = input.bytes().len();
    if length > input.limit() {
        return Err(FrameError::too_large(length, input.limit()));
    }
    Ok(is_complete.then(|| ParsedFrame::message(0..length, length)))
}
