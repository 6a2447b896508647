//! Checks and corrections around serde deserializers.
//!
//! - Values nest at most to a given depth. A few kilobytes, or one byte for
//!   `struct Link(Option<Box<Link>>)`, could otherwise overflow the stack, which ends the process.
//! - Lists claim at most as many elements as the message has bytes. A few bytes could otherwise
//!   claim billions of elements, and elements such as `()` take no bytes.
//! - Text that the format had to rewrite is borrowed from memory that the guard lends.
//! - A float that is too large for an `f32` is an error. serde would round it to infinity.
//! - Bytes are visited as a list if the type takes any value, and an empty list as bytes if it did.
//! - Types ignore a limited number of errors, because `rmp-serde` does not recover from them completely.
//! - The path and the text of an error are recorded, because some formats do not report them.
//!
//! A format and a type call each other on each level of a message. The type calls a deserializer
//! or an access of the format, which calls a visitor or a seed of the type. So all of these are wrapped, and a wrapper
//! wraps all deserializers, accesses, visitors and seeds that pass through it. Visitors, lists and maps have a wrapper
//! with state of its own, and [`Guarded`] wraps the others.
//!
//! The type gets every error as a [`GuardError`], and the format gets each as its own kind of error.

use std::{cell::Cell, fmt};

use serde::{Deserialize, Deserializer, de::Error};

mod context;
mod elements;
mod error;
mod guarded;
mod scratch;
mod visitor;

use self::{context::ErrorContext, error::GuardError, guarded::Guarded, scratch::Scratch};

/// The limit of levels: lists, maps, structs, enums and options inside one another.
pub(super) const MAX_DEPTH: u32 = 128;

/// The reason if a message is longer than its value.
#[cfg(any(feature = "messagepack", feature = "postcard"))]
pub(super) const TRAILING: &str = "trailing bytes after the value";

/// The limits of one message, and the details of its error.
pub(super) struct Guard<'de> {
    /// The length of the message in bytes.
    length: usize,
    max_depth: u32,
    /// The level that is read now.
    depth: Cell<u32>,
    /// The number of elements that the lists of the message may still claim. It begins with the
    /// length of the message, because elements take a byte at least, with few exceptions.
    element_budget: Cell<usize>,
    /// The number of lists, maps and other nested values that may still fail. A type may ignore their errors.
    failure_budget: Cell<usize>,
    scratch: Scratch<'de>,
    pub(super) context: ErrorContext,
}

impl<'de> Guard<'de> {
    /// Creates a guard for a message of `length` bytes, whose values nest at most `max_depth`
    /// levels deep.
    #[inline]
    pub(super) fn new(length: usize, max_depth: u32) -> Self {
        Self {
            length,
            max_depth,
            depth: Cell::new(0),
            element_budget: Cell::new(length),
            failure_budget: Cell::new(usize::MAX),
            scratch: Scratch::new(None, length),
            context: ErrorContext::default(),
        }
    }

    /// Lets the value borrow text that the format had to rewrite from `memory`.
    #[cfg(feature = "json")]
    #[inline]
    pub(super) fn with_memory(mut self, memory: Option<&'de mut Vec<u8>>) -> Self {
        self.scratch = Scratch::new(memory, self.length);
        self
    }

    /// Rejects the message once as many nested values have failed.
    #[cfg(feature = "messagepack")]
    #[inline]
    pub(super) fn with_max_failures(mut self, failures: usize) -> Self {
        self.failure_budget = Cell::new(failures);
        self
    }

    /// Reads the value.
    #[inline]
    pub(super) fn deserialize<T: Deserialize<'de>, D: Deserializer<'de>>(
        &self,
        deserializer: D,
    ) -> Result<T, D::Error> {
        let value = self.to_format(T::deserialize(Guarded::new(deserializer, self)))?;
        self.check_failures()?;
        Ok(value)
    }

    /// Returns an error if too many nested values have failed.
    #[inline]
    fn check_failures<E: Error>(&self) -> Result<(), E> {
        if self.failure_budget.get() == 0 {
            return Err(self.reject(format_args!("it has too many errors that its types ignore")));
        }
        Ok(())
    }

    /// Counts the elements that a list claims.
    #[inline]
    fn claim<E: Error>(&self, count: usize) -> Result<(), E> {
        let Some(left) = self.element_budget.get().checked_sub(count) else {
            let length = self.length;
            // The total includes the earlier lists, which have taken the rest of the budget.
            let total = (length - self.element_budget.get()).saturating_add(count);
            return Err(self.reject(format_args!(
                "its lists claim {total} elements, more than its length in bytes ({length})"
            )));
        };
        self.element_budget.set(left);
        Ok(())
    }

    /// Lets the type visit a value that is one level deeper.
    #[inline]
    fn nested<T, E: Error>(
        &self,
        visit: impl FnOnce() -> Result<T, GuardError<E>>,
    ) -> Result<T, E> {
        let depth = self.depth.get();
        if depth == self.max_depth {
            return Err(self.reject(format_args!("it nests deeper than {depth} levels")));
        }
        self.depth.set(depth + 1);
        let visited = visit();
        // The level is reset after an error as well, because the surrounding type may ignore the error.
        self.depth.set(depth);
        if visited.is_err() {
            let left = self.failure_budget.get().saturating_sub(1);
            self.failure_budget.set(left);
        }
        self.to_format(visited)
    }

    /// Converts the result of a type to the result that the format expects.
    #[inline]
    fn to_format<T, E: Error>(&self, result: Result<T, GuardError<E>>) -> Result<T, E> {
        result.map_err(|error| self.context.format_error(error))
    }

    /// Returns the error for a message beyond a limit.
    #[cold]
    fn reject<E: Error>(&self, reason: fmt::Arguments<'_>) -> E {
        self.context.format_error(GuardError::custom(reason))
    }
}
