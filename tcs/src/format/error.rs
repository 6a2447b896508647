//! The errors of formats.

use std::{error::Error, fmt};

use crate::text::{Escaped, Text};

/// An error that is returned if bytes are not a message of the expected type.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    text: Text,
}

/// An error that is returned if a value cannot be sent in a format.
///
/// `Display` escapes control characters, because the text may quote a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    text: Text,
}

impl DecodeError {
    /// Creates an error with a text for the peer.
    // This function is cold, so that the text of an error is not formatted between the steps of a request.
    #[cold]
    pub fn new(text: impl fmt::Display) -> Self {
        let text = Text::new(text);
        Self { text }
    }

    /// Creates the error for bytes that are not a message of a format. `place` is the position of the error, or empty.
    #[cold]
    #[allow(dead_code, reason = "for the formats that a feature enables")]
    pub(super) fn malformed(format: &str, place: &str, reason: &str) -> Self {
        // The reason may quote much of the message.
        let reason = Escaped::up_to(reason.as_bytes(), 256);
        Self::new(format_args!("invalid {format}{place}: {reason}"))
    }
}

impl EncodeError {
    /// Creates an error with a text for the log. If the value is a request, the caller gets the
    /// text.
    #[cold]
    pub fn new(text: impl fmt::Display) -> Self {
        let text = Text::new(text);
        Self { text }
    }

    /// Creates the error for a value that a format cannot express.
    #[cold]
    #[allow(dead_code, reason = "for the formats that a feature enables")]
    pub(super) fn unsupported(format: &str, reason: impl fmt::Display) -> Self {
        let text = format_args!("the value cannot be written as {format}: {reason}");
        Self::new(text)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Error for DecodeError {}

impl Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{format::Frame, framing::FrameError};

    #[test]
    fn errors_show_what_a_peer_sent_escaped() {
        let sent = "a\u{1b}[2J\n";
        let shown = "a\\u{1b}[2J\\n";
        assert_eq!(DecodeError::new(sent).to_string(), shown);
        assert_eq!(EncodeError::new(sent).to_string(), shown);
        assert_eq!(FrameError::malformed(sent).to_string(), shown);
        // Escaped text is not escaped again.
        let excerpt = Frame::new(sent.as_bytes()).excerpt().to_string();
        assert_eq!(DecodeError::new(excerpt).to_string(), shown);
    }

    #[test]
    fn error_whose_display_fails_is_no_panic() {
        struct Broken;
        impl fmt::Display for Broken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half")?;
                Err(fmt::Error)
            }
        }
        let shown = "the `Display` of the error returned an error";
        assert_eq!(DecodeError::new(Broken).to_string(), shown);
        assert_eq!(EncodeError::new(Broken).to_string(), shown);
        assert_eq!(FrameError::malformed(Broken).to_string(), shown);
    }
}
