//! Errors of guarded values, and what the formats do not report about them.

use std::{cell::RefCell, fmt};

use serde::de::Error;

use crate::text::Text;

/// The reason why a guarded value cannot be read.
#[derive(Debug)]
pub(in crate::format) enum ReadError<E> {
    /// The error of the format.
    Format(E),
    /// The text of an error that a type returned. The outer box makes it one word, so that results of small
    /// values fit into registers.
    Type(Box<Text>),
}

impl<E> From<E> for ReadError<E> {
    #[inline]
    fn from(error: E) -> Self {
        Self::Format(error)
    }
}

impl<E: fmt::Display> fmt::Display for ReadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Type(reason) => reason.raw().fmt(f),
        }
    }
}

impl<E: Error> std::error::Error for ReadError<E> {}

impl<E: Error> Error for ReadError<E> {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Type(Box::new(Text::new(reason)))
    }
}

/// What is known about the error of a message besides the error of the format.
#[derive(Default)]
pub(in crate::format) struct Trace {
    /// The elements that the error is in, from the innermost to the outermost. Each has the number of levels
    /// that may follow, and its index.
    path: RefCell<Vec<(u32, usize)>>,
    /// The text of the last error that the guard or a type returned.
    reason: RefCell<Option<Text>>,
}

impl Trace {
    /// Returns the path of the error, such as `/2/0` for element 0 of element 2. `/` is the whole message.
    #[cfg(feature = "messagepack")]
    pub(in crate::format) fn path(&self) -> String {
        let path = self.path.borrow();
        let indices: Vec<_> = path
            .iter()
            .rev()
            .map(|(_, index)| index.to_string())
            .collect();
        format!("/{}", indices.join("/"))
    }

    /// Returns the text of the last error that the guard or a type returned. `postcard` drops it.
    #[cfg(feature = "postcard")]
    pub(in crate::format) fn reason(&self) -> Option<Text> {
        self.reason.take()
    }

    /// Adds an element that the error is in.
    pub(super) fn add_element(&self, depth: u32, index: usize) {
        let mut path = self.path.borrow_mut();
        // An element that does not contain the last one begins another error. A type has ignored the one before,
        // and could otherwise make the path as long as the message.
        if path.last().is_some_and(|(last, _)| *last >= depth) {
            path.clear();
        }
        path.push((depth, index));
    }

    /// Converts an error to one of the format, and records the text if it is the error of a type.
    #[cold]
    pub(super) fn format_error<E: Error>(&self, error: ReadError<E>) -> E {
        match error {
            ReadError::Format(error) => error,
            ReadError::Type(reason) => {
                let error = E::custom(reason.raw());
                self.reason.replace(Some(*reason));
                error
            }
        }
    }
}
