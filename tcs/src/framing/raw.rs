//! No frames at all.

use super::{
    Arrival, FrameError, Framing, ParsedFrame, Side, Unparsed,
    contact::{Contact, Unit},
};

/// What arrives is the message: the wire of the Python teaching library, and of toys.
///
/// One exchange per connection. The request is what has arrived when the server wakes, its bytes
/// untouched, so a request that is sent in pieces with pauses between them is cut after the first
/// piece; the reply is everything until the server closes. Refusals cannot be told: the connection
/// closes, unless the protocol words them (`refuse = …`).
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
pub struct Raw {
    contact: Contact,
}

impl Framing for Raw {
    const PERSISTENT: bool = false;

    fn parse(&mut self, input: Unparsed<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        self.contact.first(input, Unit::Other, |input| {
            let length = input.bytes().len();
            if length > input.limit() {
                return Err(FrameError::too_large(length, input.limit()));
            }
            let complete = match (input.side(), input.arrival()) {
                (Side::Server, Arrival::Filled)
                | (Side::Client, Arrival::Filled | Arrival::Paused) => false,
                (Side::Server, Arrival::Paused | Arrival::Ended) => length > 0,
                (Side::Client, Arrival::Ended) => true,
            };
            Ok(complete.then(|| ParsedFrame::message(0..length, length)))
        })
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }
}
