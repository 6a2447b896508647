//! Messages with a length before each.

use super::{
    Detection, FrameError, FrameKind, Framing, Input, Notice, ParsedFrame, Side,
    headers::{
        MAX_LENGTH, PREFIX_LEN as HEADER_LEN, control_or_oversized, reject_text, write_length,
        write_notice, write_rejection,
    },
};
use crate::Rejection;

/// The default framing: a `u32` length in big-endian order, then the message, or a control frame.
///
/// Use it if both ends use this library or follow `WIRE.md`, which specifies the framing with test vectors. For an
/// existing protocol without control frames, use [`Prefixed`](super::Prefixed).
///
/// Bit 31 of the length marks a control frame, which carries a rejection instead of a message. A client therefore
/// learns the reason of a rejection, and never takes it for a reply. A client that does not know control frames sees an
/// impossible length.
///
/// A message beyond `max_frame_len` is rejected, and the connection stays open if the message is at most four times the
/// limit. The connection also closes if the first length consists of text, as only that of a message of more than 512
/// MiB does. With a limit below 208 MiB, no message begins like one of the [other protocols](super::OtherProtocol) that
/// a server detects.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// use tcs::{ConcurrentServer, Connection, server_protocol};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let server = ConcurrentServer::new(Greet).port(0).bind().await?;
/// let addr = server.local_addr();
/// tokio::spawn(server.listen());
///
/// // `00 00 00 03` and `Ann` are sent.
/// let mut connection = Connection::connect(addr).await?;
/// assert_eq!(connection.call::<Greet>("Ann").await?, "Hello, Ann!");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LengthPrefixed;

impl Framing for LengthPrefixed {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const HAS_REJECTION_FRAME: bool = true;
    const DETECTION: Detection = Detection {
        reject_foreign_start: reject_text,
        ..Detection::ON
    };

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let bytes = input.bytes();
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return ParsedFrame::incomplete(input);
        };
        let header = u32::from_be_bytes(*header);
        let length = header as usize;
        // One comparison finds both, because the header of a control frame is beyond every limit.
        if length > input.limit().min(MAX_LENGTH) {
            // For the compiler, as in `ConnectionFraming::parse`: no message comes from this call.
            let (limit, read_state) = (input.limit(), input.read_state());
            let other =
                control_or_oversized::<HEADER_LEN>(bytes, limit, input.side(), read_state, header)?;
            return Ok(other.filter(|frame| frame.kind != FrameKind::Message));
        }
        let end = HEADER_LEN + length;
        if bytes.len() < end {
            return ParsedFrame::incomplete(input);
        }
        Ok(Some(ParsedFrame::message(HEADER_LEN..end, end)))
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; HEADER_LEN]);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        write_length::<HEADER_LEN>(out, start)
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        write_rejection(out, None, rejection);
        true
    }

    #[inline]
    fn has_notices(_side: Side) -> bool {
        true
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: Notice) -> bool {
        let needs_id = matches!(notice, Notice::Credit(_) | Notice::Deadline(_));
        if !needs_id {
            write_notice(out, None, notice);
        }
        !needs_id
    }
}
