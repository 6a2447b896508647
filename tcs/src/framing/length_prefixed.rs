//! A length before each message.

use super::{Arrival, Cut, FrameError, Framing, Input, Side, Told, foreign};
use crate::Refusal;

/// The default framing: a `u32` length in big-endian order, then so many bytes.
///
/// Bit 31 of the length marks a control frame, which carries a refusal instead of a message, so
/// that a server tells its clients what went wrong and clients never take it for a reply. A foreign
/// client that knows nothing of this sees an impossible length. `WIRE.md` specifies it, with test
/// vectors.
///
/// A message beyond `max_frame_len` is refused in its place, and the connection goes on, if it is
/// not more than four times too large; beyond that the connection closes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthPrefixed {
    contact: Contact,
}

/// Whether the peer has shown that it speaks this framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Contact {
    #[default]
    First,
    Made,
}

const HEADER: usize = 4;
const CONTROL: u32 = 1 << 31;
const MAX_LENGTH: usize = (CONTROL - 1) as usize;
/// The most bytes that a control frame's kind and text have together.
const MAX_CONTROL: usize = 4_096;
/// A message up to so many times the limit is skipped, instead of ending the connection.
const SKIPPED: usize = 4;

impl Framing for LengthPrefixed {
    const TELLS: Told = Told::Yes;

    #[inline]
    fn cut(&mut self, input: Input<'_>) -> Result<Option<Cut>, FrameError> {
        let bytes = input.bytes();
        if self.contact == Contact::First {
            self.meet(bytes, input.side(), input.arrival())?;
        }
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return input.unfinished();
        };
        let header = u32::from_be_bytes(*header);
        let length = header as usize;
        // One comparison for both: the header of a control frame is beyond every limit.
        if length > input.limit().min(MAX_LENGTH) {
            return unusual(bytes, input.limit(), input.arrival(), header);
        }
        if rest.len() < length {
            return input.unfinished();
        }
        let end = HEADER + length;
        Ok(Some(Cut::message(HEADER..end, end)))
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
            _ => Err(unsendable(out.len().saturating_sub(start + HEADER))),
        }
    }

    fn refuse(&mut self, out: &mut Vec<u8>, refusal: &Refusal) -> Told {
        let text = refusal.text();
        let text = &text[..text.floor_char_boundary(MAX_CONTROL - 1)];
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 4,096")]
        let length = (1 + text.len()) as u32;
        out.extend_from_slice(&(CONTROL | length).to_be_bytes());
        out.push(refusal.kind().code());
        out.extend_from_slice(text.as_bytes());
        Told::Yes
    }
}

impl LengthPrefixed {
    /// Looks whether the first bytes are of this framing at all.
    #[cold]
    fn meet(&mut self, bytes: &[u8], side: Side, arrival: Arrival) -> Result<(), FrameError> {
        foreign::refuse_text(bytes, side, arrival)?;
        if bytes.len() >= HEADER {
            self.contact = Contact::Made;
        }
        Ok(())
    }
}

#[cold]
fn unsendable(length: usize) -> FrameError {
    FrameError::unsendable(format_args!(
        "a message of {length} bytes exceeds the {MAX_LENGTH} that a length can say"
    ))
}

/// Cuts what is no message within the limit.
///
/// It takes the parts of the input, because a whole one would have to be put into memory for it
/// even where it is not called.
#[cold]
fn unusual(
    bytes: &[u8],
    limit: usize,
    arrival: Arrival,
    header: u32,
) -> Result<Option<Cut>, FrameError> {
    let length = (header & !CONTROL) as usize;
    if header & CONTROL == 0 {
        return too_large(length, limit, arrival);
    }
    if !(1..=MAX_CONTROL).contains(&length) {
        return Err(FrameError::malformed(format_args!(
            "a control frame of {length} bytes; it has 1 to {MAX_CONTROL}"
        )));
    }
    let end = HEADER + length;
    match bytes.get(HEADER) {
        Some(kind) if bytes.len() >= end => Ok(Some(Cut::control(*kind, HEADER + 1..end, end))),
        _ if arrival == Arrival::Ended => Err(FrameError::truncated()),
        _ => Ok(None),
    }
}

fn too_large(length: usize, limit: usize, arrival: Arrival) -> Result<Option<Cut>, FrameError> {
    let skippable = length <= limit.saturating_mul(SKIPPED);
    if skippable && arrival != Arrival::Ended {
        return Ok(Some(Cut::too_large(length, HEADER + length)));
    }
    Err(FrameError::too_large(length, limit))
}
