//! The outcome of encoding a message.

use super::{EncodeError, WriterState};
use crate::framing::FrameError;

/// The outcome of encoding a message.
#[derive(Debug)]
pub(crate) enum EncodeOutcome {
    /// A message, which is in the buffer from this position on.
    Written(usize),
    /// Nothing: there is no message.
    Nothing,
    /// The error of a function, with this text.
    Error(String),
    /// The format cannot encode the message.
    Unencodable(EncodeError),
    /// The framing cannot carry the message.
    Unsendable(FrameError),
}

impl EncodeOutcome {
    /// Returns the outcome of a message that was written to `buffer` from `start` on, within `limit`.
    #[cold]
    pub(crate) fn of(
        encoded: Result<WriterState, EncodeError>,
        buffer: &[u8],
        start: usize,
        limit: usize,
    ) -> Self {
        match encoded {
            Ok(WriterState::Message) => Self::Written(start),
            Ok(WriterState::Nothing) => Self::Nothing,
            Ok(WriterState::Error(place)) => {
                let text = buffer.get(place).unwrap_or_default();
                let mut owned = String::new();
                if owned.try_reserve_exact(text.len()).is_ok() {
                    owned.push_str(&String::from_utf8_lossy(text));
                }
                Self::Error(owned)
            }
            // The final length tells the two cases apart: within the limit, only memory was missing.
            Ok(WriterState::TooLarge(length)) if length <= limit => {
                Self::Unsendable(FrameError::out_of_memory(length))
            }
            Ok(WriterState::TooLarge(length)) => {
                Self::Unsendable(FrameError::too_large(length, limit))
            }
            Err(error) => Self::Unencodable(error),
        }
    }
}
