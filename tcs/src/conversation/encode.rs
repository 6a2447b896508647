//! Encodes messages without their frames.

use crate::format::{Encode, EncodeOutcome, Writer};

/// Clears `out`, and encodes a message to it without its frame. Returns `false` if the value declares that there is
/// none, and the text of the error if the message cannot be sent.
///
/// Encoding runs code of the user, which may use the same connection. So the caller must hold no lock.
pub(super) fn encode<Format>(
    message: impl Encode<Format>,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, String> {
    out.clear();
    let mut writer = Writer::new(out, limit);
    let encoded = message.encode(&mut writer).map(|()| writer.into_state());
    match EncodeOutcome::of(encoded, out, 0, limit) {
        EncodeOutcome::Written(_) => Ok(true),
        EncodeOutcome::Nothing => Ok(false),
        EncodeOutcome::Unsendable(error) => Err(error.of_reply().to_string()),
        EncodeOutcome::Unencodable(error) => Err(error.to_string()),
        // The value is the error of a function (`Result`), and not a message.
        EncodeOutcome::Error(text) => Err(text),
    }
}
