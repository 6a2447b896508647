//! Encodes messages without their frames.

use std::fmt;

use crate::format::{Encode, EncodeOutcome, Writer};

/// Why a message cannot be sent.
#[derive(Debug)]
pub(crate) struct Unsendable(EncodeOutcome);

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            EncodeOutcome::Unencodable(error) => error.fmt(f),
            EncodeOutcome::Unsendable(error) => error.fmt(f),
            // The value is the error of a function (`Result`), and not a message.
            EncodeOutcome::Error(text) => f.write_str(text),
            EncodeOutcome::Written(_) | EncodeOutcome::Nothing => Ok(()),
        }
    }
}

/// Clears `out`, and encodes a message to it without its frame. Returns `false` if the value declares that there is
/// none.
///
/// Encoding runs code of the user, which may use the same connection. So the caller must hold no lock.
pub(super) fn encode<Format>(
    message: impl Encode<Format>,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, Unsendable> {
    out.clear();
    let mut writer = Writer::new(out, limit);
    let encoded = message.encode(&mut writer).map(|()| writer.into_state());
    match EncodeOutcome::of(encoded, out, 0, limit) {
        EncodeOutcome::Written(_) => Ok(true),
        EncodeOutcome::Nothing => Ok(false),
        EncodeOutcome::Unsendable(error) => {
            Err(Unsendable(EncodeOutcome::Unsendable(error.of_reply())))
        }
        unsent => Err(Unsendable(unsent)),
    }
}
