//! No frames at all.

use super::{Arrival, Cut, Exchanges, FrameError, Framing, Input, Side, foreign};

/// What arrives is the message: the wire of the Python teaching library, and of toys.
///
/// One exchange per connection. The request is what has arrived when the server wakes, its bytes
/// untouched, so a request that is sent in pieces with pauses between them is cut after the first
/// piece; the reply is everything until the server closes. Refusals cannot be told: the connection
/// closes, unless the protocol words them (`refuse = …`). A request that begins with an HTTP request line is answered with a 400 and not executed.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Raw;

impl Framing for Raw {
    const EXCHANGES: Exchanges = Exchanges::One;

    fn cut(&mut self, input: Input<'_>) -> Result<Option<Cut>, FrameError> {
        let length = input.bytes().len();
        if length > input.limit() {
            return Err(FrameError::too_large(length, input.limit()));
        }
        let complete = match (input.side(), input.arrival()) {
            (Side::Server, Arrival::Filled) | (Side::Client, Arrival::Filled | Arrival::Paused) => {
                false
            }
            (Side::Server, Arrival::Paused | Arrival::Ended) => length > 0,
            (Side::Client, Arrival::Ended) => true,
        };
        if !complete {
            return Ok(None);
        }
        foreign::refuse_http(input)?;
        Ok(Some(Cut::message(0..length, length)))
    }

    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn finish(&mut self, _out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
        Ok(())
    }
}
