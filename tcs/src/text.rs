//! The text of an error.

use std::fmt::{self, Write as _};

use crate::rejection::Escaped;

/// The text of an error, which may quote a peer. `Display` escapes control characters.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(Box<str>);

impl Text {
    /// Creates the text that `source` displays. `source` is often of the user, so its `Display` may fail,
    /// on which `to_string` would panic.
    pub(crate) fn new(source: impl fmt::Display) -> Self {
        let mut text = String::new();
        if write!(text, "{source}").is_err() {
            text = String::from(DISPLAY_FAILED);
        }
        Self(text.into())
    }

    /// Returns the text with its control characters.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }
}

/// The text of an error that does not display one.
pub(crate) const DISPLAY_FAILED: &str = "the `Display` of the error returned an error";

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_bytes(), self.0.len()).fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
