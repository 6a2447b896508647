//! Details of an error that some formats do not report.

use std::cell::Cell;

use serde::de::Error;

use super::error::GuardError;
use crate::text::Text;

/// Details of an error, in addition to the error of the format.
#[derive(Default)]
pub(in crate::format) struct ErrorContext {
    /// The elements around the error, each with its level and index, from the innermost to the outermost. `rmp-serde`
    /// does not report where an error is.
    path: Cell<Vec<(u32, usize)>>,
    /// Whether there is an error, which a type may ignore. This is quicker to check than the path.
    has_error: Cell<bool>,
    /// The text of the last error that the guard or a type returned. `postcard` drops it.
    reason: Cell<Option<Text>>,
}

impl ErrorContext {
    /// Returns the path of the error, such as `/2/0` for element 0 of element 2. `/` is the whole
    /// message.
    #[cfg(feature = "messagepack")]
    pub(in crate::format) fn path(&self) -> String {
        let path = self.path.take();
        let indices = path.iter().rev().map(|(_, index)| index.to_string());
        format!("/{}", indices.collect::<Vec<_>>().join("/"))
    }

    /// Takes the text of the last error that the guard or a type returned.
    #[cfg(any(feature = "json", feature = "postcard"))]
    pub(in crate::format) fn take_reason(&self) -> Option<Text> {
        self.reason.take()
    }

    /// Forgets an error that a type has ignored. Returns `true` if there was one.
    #[inline]
    pub(super) fn clear_error(&self) -> bool {
        let had_error = self.has_error.get();
        if had_error {
            self.has_error.set(false);
            drop(self.path.take());
        }
        had_error
    }

    /// Adds an element around the error.
    #[cold]
    pub(super) fn add_element(&self, depth: u32, index: usize) {
        let mut path = self.path.take();
        // An element that does not contain the last one belongs to another error. A type has ignored the earlier error.
        // Without this reset, ignored errors could make the path as long as the message.
        if path.last().is_some_and(|(last, _)| *last <= depth) {
            path.clear();
        }
        path.push((depth, index));
        self.path.set(path);
        self.has_error.set(true);
    }

    /// Converts an error to one of the format, and records the text if it is the error of a type.
    #[cold]
    pub(super) fn format_error<E: Error>(&self, error: GuardError<E>) -> E {
        self.has_error.set(true);
        match error {
            GuardError::Format(error) => error,
            GuardError::Custom(reason) => {
                let error = E::custom(reason.raw());
                self.reason.set(Some(*reason));
                error
            }
        }
    }
}
