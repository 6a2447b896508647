//! What several framings do to complete a message.

use super::FrameError;

/// Reserves room for the bytes that a framing adds to a message. For a large message, there may be no memory.
#[inline]
pub(super) fn make_room(out: &mut Vec<u8>, length: usize) -> Result<(), FrameError> {
    let reserved = out.try_reserve(length);
    reserved.map_err(|_| FrameError::out_of_memory(out.len()))
}

/// Inserts the length of a message at `at`, which `put` appends to `out`.
pub(super) fn insert(
    out: &mut Vec<u8>,
    at: usize,
    put: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameError> {
    /// More than a header with a length has, and what ends a message.
    const LONGEST: usize = 64;
    make_room(out, LONGEST)?;
    let end = out.len();
    put(out);
    let inserted = out.len().saturating_sub(end);
    if let Some(rest) = out.get_mut(at..) {
        rest.rotate_right(inserted);
    }
    Ok(())
}

/// Writes text with `\r\n` after each line.
pub(super) fn write_lines(out: &mut Vec<u8>, text: &[u8], is_stuffed: bool) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if is_stuffed && line.starts_with(b".") {
            out.push(b'.');
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
}
