//! Helpers with which several framings complete a message.

use super::FrameError;

/// Reserves room for the bytes that a framing adds to a message. For a large message, there may be no memory.
#[inline]
pub(super) fn make_room(out: &mut Vec<u8>, length: usize) -> Result<(), FrameError> {
    let reserved = out.try_reserve(length);
    reserved.map_err(|_| FrameError::out_of_memory(out.len()))
}

/// Inserts at `at` the bytes that `put` appends to `out`, such as the length of a message.
pub(super) fn insert(
    out: &mut Vec<u8>,
    at: usize,
    put: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameError> {
    /// More than any framing inserts here and appends afterwards.
    const MAX_INSERTED: usize = 64;
    make_room(out, MAX_INSERTED)?;
    let end = out.len();
    put(out);
    let inserted = out.len().saturating_sub(end);
    if let Some(rest) = out.get_mut(at..) {
        rest.rotate_right(inserted);
    }
    Ok(())
}

/// Gives each line of the text at `start` a `\r\n`. With `is_stuffed`, a line that begins with a dot gets another one.
pub(super) fn write_lines(
    out: &mut Vec<u8>,
    start: usize,
    is_stuffed: bool,
) -> Result<(), FrameError> {
    let text = out.get(start..).unwrap_or_default();
    // Each line may become longer, so the text is copied. For a large one, there may be no memory.
    let mut copy = Vec::new();
    copy.try_reserve_exact(text.len())
        .map_err(|_| FrameError::out_of_memory(text.len()))?;
    copy.extend_from_slice(text);
    out.truncate(start);
    for line in copy.split_inclusive(|byte| *byte == b'\n') {
        make_room(out, line.len() + b".\r\n".len())?;
        if is_stuffed && line.starts_with(b".") {
            out.push(b'.');
        }
        // Without a line feed after it, a carriage return is an ordinary byte.
        out.extend_from_slice(match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        });
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}
