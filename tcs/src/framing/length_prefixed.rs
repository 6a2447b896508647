//! Messages with a length before each.

use super::{
    Announcement, Detection, FrameError, FrameKind, Framing, Input, OtherProtocol, ParsedFrame,
    ReadState, Side, other_protocol::EXPECTS_LENGTH, parsed::skip_or_reject,
};
use crate::{Rejection, text::Escaped};

/// The default framing: a `u32` length in big-endian order, then the message, or a control frame.
///
/// Use it where both ends use this library or follow `WIRE.md`. For the lengths of an existing
/// protocol, which has no control frames, use [`Prefixed`](super::Prefixed).
///
/// Bit 31 of the length marks a control frame, which carries a rejection instead of a message. So a
/// client gets the reason of a rejection, and never takes it for a reply. A foreign client without
/// control frames sees an impossible length. `WIRE.md` specifies the framing, with test vectors.
///
/// A message beyond `max_frame_len` is rejected in its place, and the connection continues, if it is at
/// most four times the limit. If it is larger, the connection closes. So it does if the four bytes of the
/// first length are text, which only those of messages of more than 512 MiB can be. With a limit below 208 MiB,
/// no message within it begins like one of the [other protocols](super::OtherProtocol) that a server detects.
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

/// The length in bytes of the header of a frame.
const HEADER: usize = 4;
/// The notice that a client sends while it has nothing to say.
const PING: u8 = 0x80;
const CONTROL: u32 = 1 << 31;
const MAX_LENGTH: usize = (CONTROL - 1) as usize;
/// The maximum length of a control frame's kind and text together.
const MAX_CONTROL: usize = 1 + Rejection::MAX_TEXT;

impl Framing for LengthPrefixed {
    const HAS_INDEPENDENT_FRAMES: bool = true;
    const HAS_REJECTION_FRAME: bool = true;
    const IS_STATELESS: bool = true;
    const DETECTION: Detection = Detection {
        reject_foreign_start: reject_text,
        ..Detection::ON
    };

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
        let bytes = input.bytes();
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return ParsedFrame::incomplete(input);
        };
        let header = u32::from_be_bytes(*header);
        let length = header as usize;
        // One comparison for both: the header of a control frame is beyond every limit.
        if length > input.limit().min(MAX_LENGTH) {
            // For the compiler, as in `ConnectionFraming::parse`: no message comes from this call.
            let (limit, read_state) = (input.limit(), input.read_state());
            let other = other_frame(bytes, limit, input.side(), read_state, header)?;
            return Ok(other.filter(|frame| frame.kind != FrameKind::Message));
        }
        let end = HEADER + length;
        if bytes.len() < end {
            return ParsedFrame::incomplete(input);
        }
        Ok(Some(ParsedFrame::message(HEADER..end, end)))
    }

    fn frame_len(&self, bytes: &[u8]) -> Option<usize> {
        let header = u32::from_be_bytes(*bytes.first_chunk()?);
        Some(HEADER.saturating_add(header as usize))
    }

    #[inline]
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; HEADER]);
    }

    #[inline]
    fn finish(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), FrameError> {
        let message = match out.get_mut(start..) {
            Some(framed) => framed.split_first_chunk_mut::<HEADER>(),
            None => None,
        };
        match message {
            Some((header, message)) if message.len() <= MAX_LENGTH => {
                #[expect(clippy::cast_possible_truncation, reason = "it has 31 bits")]
                let length = message.len() as u32;
                *header = length.to_be_bytes();
                Ok(())
            }
            _ => {
                let length = out.len().saturating_sub(start + HEADER);
                Err(FrameError::length_overflow(length, MAX_LENGTH, 31))
            }
        }
    }

    fn reject(&mut self, out: &mut Vec<u8>, rejection: &Rejection) -> bool {
        let text = rejection.text();
        let text = &text[..text.floor_char_boundary(Rejection::MAX_TEXT)];
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 4,096")]
        let length = (1 + text.len()) as u32;
        out.extend_from_slice(&(CONTROL | length).to_be_bytes());
        out.push(rejection.kind().code());
        out.extend_from_slice(text.as_bytes());
        true
    }

    fn ping(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&(CONTROL | 1).to_be_bytes());
        out.push(PING);
        true
    }

    fn announce(&mut self, out: &mut Vec<u8>, announcement: Announcement, count: u32) -> bool {
        let count = count.to_be_bytes();
        out.extend_from_slice(&(CONTROL | 5).to_be_bytes());
        out.push(announcement.code());
        out.extend_from_slice(&count);
        true
    }
}

/// Parses a frame that is not a message within the limit: a control frame, or a message beyond it. It gets
/// the parts of the input, as `ConnectionFraming::first` does.
#[cold]
fn other_frame(
    bytes: &[u8],
    limit: usize,
    side: Side,
    read_state: ReadState,
    header: u32,
) -> Result<Option<ParsedFrame>, FrameError> {
    let input = Input::new(bytes, limit, side, read_state);
    let length = (header & !CONTROL) as usize;
    let end = HEADER + length;
    if header & CONTROL == 0 {
        return skip_or_reject(length, input.limit(), end, input.ends_before(end));
    }
    if !(1..=MAX_CONTROL).contains(&length) {
        return Err(FrameError::malformed(format_args!(
            "a control frame of {length} bytes; it has 1 to {MAX_CONTROL}"
        )));
    }
    match input.bytes().get(HEADER..end) {
        Some([kind, ..]) => Ok(Some(ParsedFrame::control(*kind, HEADER + 1..end, end))),
        _ => ParsedFrame::incomplete(input),
    }
}

/// Rejects text in place of the first length: four bytes, or a line if it is shorter.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`, so text
/// is not the length of a message within the limit. With a limit above 128 MiB, it can be that of a message
/// to skip. It is rejected as text all the same: a client that types is likelier than such a message.
fn reject_text(input: Input<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    let start = bytes.get(..HEADER).unwrap_or(bytes);
    // Bytes after a line end may not have arrived, so the result must not depend on them.
    let line = start.split_inclusive(|byte| *byte == b'\n').next();
    let Some(text @ [b' '..=b'~', ..]) = line else {
        return Ok(());
    };
    let is_complete =
        text.len() == HEADER || text.ends_with(b"\n") || input.read_state() == ReadState::Eof;
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if !is_complete || !text.iter().all(is_text) {
        return Ok(());
    }
    Err(match (input.side(), OtherProtocol::guess(text)) {
        (Side::Client, _) => FrameError::malformed(format_args!(
            "the server sent text (`{}`) where a length is expected: it does not speak length-prefixed frames",
            Escaped::all(text)
        )),
        (Side::Server, Some(protocol)) => FrameError::other_protocol(protocol),
        (Side::Server, None) => FrameError::with_answer(
            Some(EXPECTS_LENGTH),
            &"that looks like text, and this port expects length-prefixed frames",
        ),
    })
}
