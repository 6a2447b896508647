//! Headers of `LengthPrefixed` and `Multiplexed`: a length, whose bit 31 marks a control frame.

use super::{
    FrameError, Input, Notice, OtherProtocol, ParsedFrame, ReadState, Side,
    other_protocol::EXPECTS_LENGTH, parse::skip_or_reject,
};
use crate::{Rejection, text::Escaped};

/// The length in bytes of a length.
pub(super) const PREFIX_LEN: usize = 4;
/// The bit of a length that marks a control frame.
pub(super) const CONTROL: u32 = 1 << 31;
pub(super) const MAX_LENGTH: usize = (CONTROL - 1) as usize;
/// The maximum length of a control frame's kind and text together.
const MAX_CONTROL: usize = 1 + Rejection::MAX_TEXT;

/// Writes the length of the message at the end of `out` into its header of `HEADER_LEN` bytes at `start`.
#[inline]
pub(super) fn write_length<const HEADER_LEN: usize>(
    out: &mut [u8],
    start: usize,
) -> Result<(), FrameError> {
    let framed = match out.get_mut(start..) {
        Some(framed) => framed.split_first_chunk_mut(),
        None => None,
    };
    match framed {
        // `rest` includes the id, which the length does not count. Close to 2 GiB, four bytes make no difference.
        Some((header, rest)) if rest.len() <= MAX_LENGTH => {
            #[expect(clippy::cast_possible_truncation, reason = "it has 31 bits")]
            let length = rest.len().saturating_sub(HEADER_LEN - PREFIX_LEN) as u32;
            *header = length.to_be_bytes();
            Ok(())
        }
        _ => {
            let length = out.len().saturating_sub(start + HEADER_LEN);
            Err(FrameError::length_overflow(length, MAX_LENGTH, 31))
        }
    }
}

/// Appends a control frame. Its header ends with `id`, if the framing has ids.
fn write_control(out: &mut Vec<u8>, id: Option<u32>, kind: u8, text: &[u8]) {
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 4,096")]
    let length = (1 + text.len()) as u32;
    out.extend_from_slice(&(CONTROL | length).to_be_bytes());
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    out.push(kind);
    out.extend_from_slice(text);
}

/// Appends a notice.
pub(super) fn write_notice(out: &mut Vec<u8>, id: Option<u32>, notice: Notice) {
    let number = notice.number().map(u32::to_be_bytes);
    let text: &[u8] = number.as_ref().map_or(&[], |number| number);
    write_control(out, id, notice.code(), text);
}

/// Appends a control frame with a rejection.
pub(super) fn write_rejection(out: &mut Vec<u8>, id: Option<u32>, rejection: &Rejection) {
    let text = rejection.text();
    // A reader takes the text for UTF-8, so it must not end within a character.
    let text = &text[..text.floor_char_boundary(Rejection::MAX_TEXT)];
    write_control(out, id, rejection.kind().code(), text.as_bytes());
}

/// Parses a frame with a header of `HEADER_LEN` bytes that is a control frame, or a message beyond the limit. This
/// function gets the parts of the input, as `ConnectionFraming::parse_inspected` does.
#[cold]
pub(super) fn control_or_oversized<const HEADER_LEN: usize>(
    bytes: &[u8],
    limit: usize,
    side: Side,
    read_state: ReadState,
    header: u32,
) -> Result<Option<ParsedFrame>, FrameError> {
    let input = Input::new(bytes, limit, side, read_state);
    let length = (header & !CONTROL) as usize;
    let end = HEADER_LEN + length;
    if header & CONTROL == 0 {
        return skip_or_reject(length, input.limit(), end, input.ends_before(end));
    }
    // Checked before the bytes arrive: a control frame is read whole, so a peer must not choose a length of up to 2
    // GiB.
    if !(1..=MAX_CONTROL).contains(&length) {
        return Err(FrameError::malformed(format_args!(
            "a control frame of {length} bytes; it has 1 to {MAX_CONTROL}"
        )));
    }
    match input.bytes().get(HEADER_LEN..end) {
        Some([kind, ..]) => Ok(Some(ParsedFrame::control(*kind, HEADER_LEN + 1..end, end))),
        _ => ParsedFrame::incomplete(input),
    }
}

/// Rejects text in place of the first length: four bytes, or a line if it is shorter.
///
/// A length that begins with a printable character is beyond 512 MiB, the largest `max_frame_len`, so text
/// is not the length of a message within the limit. With a limit above 128 MiB, text can be the length of a message to
/// skip. The framing rejects it as text all the same: a client that types is likelier than such a message.
pub(super) fn reject_text(input: Input<'_>) -> Result<(), FrameError> {
    let bytes = input.bytes();
    let start = bytes.get(..PREFIX_LEN).unwrap_or(bytes);
    // Bytes after a line end may not have arrived, so the result must not depend on them.
    let line = start.split_inclusive(|byte| *byte == b'\n').next();
    let Some(text @ [b' '..=b'~', ..]) = line else {
        return Ok(());
    };
    // Four printable bytes are a length beyond every `max_frame_len`. Until all four have arrived, they may be the
    // beginning of a smaller length.
    let is_complete =
        text.len() == PREFIX_LEN || text.ends_with(b"\n") || input.read_state() == ReadState::Eof;
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
