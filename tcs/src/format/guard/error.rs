//! The errors that types see.

use std::fmt;

use serde::de::Error;

use crate::text::Text;

/// The reason why a type cannot be read.
///
/// A type creates its own errors by [`Error::custom`], which has no access to the guard. Their text is here until the
/// guard sees the error, because the error of a format may drop the text.
#[derive(Debug)]
pub(in crate::format) enum GuardError<E> {
    /// The error of the format.
    Format(E),
    /// The text of an error that a type returned. The outer box makes it one word, so that results
    /// of small values fit into registers.
    Custom(Box<Text>),
}

impl<E> From<E> for GuardError<E> {
    #[inline]
    fn from(error: E) -> Self {
        Self::Format(error)
    }
}

impl<E: fmt::Display> fmt::Display for GuardError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Custom(reason) => reason.raw().fmt(f),
        }
    }
}

impl<E: Error> std::error::Error for GuardError<E> {}

impl<E: Error> Error for GuardError<E> {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Custom(Box::new(Text::new(reason)))
    }
}
