//! The errors of formats.

use std::{error::Error, fmt};

use crate::rejection::Escaped;

/// Defines an error that is a text.
macro_rules! text_error {
    ($(#[$docs:meta])* $name:ident; $(#[$docs_of_new:meta])* new) => {
        $(#[$docs])*
        ///
        /// `Display` escapes control characters, because the text may quote a peer.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            text: Box<str>,
        }

        impl $name {
            $(#[$docs_of_new])*
            // Cold, so that the text of an error is not formatted between the steps of a request.
            #[cold]
            pub fn new(text: impl fmt::Display) -> Self {
                let text = text.to_string().into_boxed_str();
                Self { text }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Escaped(self.text.as_bytes(), self.text.len()).fmt(f)
            }
        }

        impl Error for $name {}
    };
}

text_error! {
    /// The reason why bytes are not the message that was expected.
    DecodeError;
    /// Creates an error with a text for the peer.
    new
}

text_error! {
    /// The reason why a value cannot be sent in a format.
    EncodeError;
    /// Creates an error with a text for the log. If the value is a request, the caller gets the text.
    new
}

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
}
