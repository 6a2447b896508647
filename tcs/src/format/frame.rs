//! The frame from which a message is decoded.

use std::{any::Any, fmt};

use super::DecodeError;
use crate::text::Escaped;

/// A received message: its bytes, without a delimiter or prefix, or the value that its framing made
/// of them.
pub struct Frame<'a> {
    bytes: &'a [u8],
    /// Memory from which the message may borrow text that its format has to rewrite.
    scratch: Option<&'a mut Vec<u8>>,
    /// The value that the framing made of the message.
    value: Option<Box<dyn Any + Send>>,
}

impl<'a> Frame<'a> {
    /// Creates a frame from the bytes of a message.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            scratch: None,
            value: None,
        }
    }

    /// Adds memory from which the message may borrow text that its format has to rewrite.
    #[inline]
    pub(crate) fn with_scratch(mut self, scratch: &'a mut Vec<u8>) -> Self {
        self.scratch = Some(scratch);
        self
    }

    /// Adds the value that the framing made of the message.
    #[inline]
    pub(super) fn with_value(mut self, value: Option<Box<dyn Any + Send>>) -> Self {
        self.value = value;
        self
    }

    /// Returns the bytes.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the text.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not UTF-8. The message gives the position.
    #[inline]
    pub fn text(&self) -> Result<&'a str, DecodeError> {
        str::from_utf8(self.bytes).map_err(|source| {
            let valid = source.valid_up_to();
            DecodeError::new(format_args!("the text is not UTF-8 after byte {valid}"))
        })
    }

    /// Returns the value that the framing made of the message
    /// ([`Framing::take_value`](crate::framing::Framing::take_value)), if its type is `T`.
    pub fn into_value<T: Any>(self) -> Option<T> {
        self.value?.downcast().ok().map(|value| *value)
    }

    /// Takes the memory for text that has to be rewritten.
    #[cfg(feature = "json")]
    pub(super) fn take_scratch(&mut self) -> Option<&'a mut Vec<u8>> {
        self.scratch.take()
    }

    /// Returns a value that displays the first 64 bytes, escaped, for error messages.
    pub fn excerpt(&self) -> impl fmt::Display + use<'a> {
        Escaped::up_to(self.bytes, 64)
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.excerpt())
    }
}
