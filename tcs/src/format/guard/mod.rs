//! A wrapper of serde's deserializers that limits what the message of a peer may cost.
//!
//! - It limits how deep values nest. A few kilobytes, or one byte for
//!   `struct Link(Option<Box<Link>>)`, could otherwise overflow the stack, which ends the process.
//! - It limits how many elements lists may claim. A few bytes could otherwise claim billions of elements,
//!   and elements such as `()` take no bytes.
//! - It lends memory for text that a format had to rewrite, so that such text can be borrowed as well.
//! - It records what some formats do not report: the element that an error is in, and the text of an error
//!   that a type returned.

use std::{cell::Cell, fmt};

use serde::{Deserialize, Deserializer, de::Error};

mod error;
mod scratch;
mod wrapper;

use self::{
    error::{ReadError, Trace},
    scratch::Scratch,
    wrapper::Guarded,
};
use crate::rejection::Escaped;

/// The limit of levels: lists, maps, structs, enums and options inside one another.
pub(super) const DEPTH: u32 = 128;

/// The limits of one message, and what is known about its error.
pub(super) struct Guard<'de> {
    /// The length of the message in bytes.
    length: usize,
    max_depth: u32,
    /// The number of elements that the lists of the message may still claim. It begins with the
    /// length of the message, because elements take a byte at least, with few exceptions.
    unclaimed: Cell<usize>,
    scratch: Scratch<'de>,
    trace: Trace,
}

impl<'de> Guard<'de> {
    /// Guards a message of `length` bytes, whose values may nest `max_depth` levels deep. From `memory`, the value
    /// may borrow text that the format had to rewrite.
    #[inline]
    pub(super) fn new(length: usize, max_depth: u32, memory: Option<&'de mut Vec<u8>>) -> Self {
        Self {
            length,
            max_depth,
            unclaimed: Cell::new(length),
            scratch: Scratch::new(memory, length),
            trace: Trace::default(),
        }
    }

    /// Reads the value.
    #[inline]
    pub(super) fn read<T: Deserialize<'de>, D: Deserializer<'de>>(
        &self,
        inner: D,
    ) -> Result<T, D::Error> {
        T::deserialize(Guarded::new(inner, self)).map_err(|error| self.trace.format_error(error))
    }

    /// Returns what is known about the error that `read` has returned.
    #[cfg(any(feature = "messagepack", feature = "postcard"))]
    pub(super) const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Reserves the elements that a list claims.
    #[inline]
    fn claim<E: Error>(&self, count: usize) -> Result<(), E> {
        let Some(left) = self.unclaimed.get().checked_sub(count) else {
            return Err(self.reject_with(format_args!(
                "it claims {count} elements, which is more than its bytes"
            )));
        };
        self.unclaimed.set(left);
        Ok(())
    }

    /// Limits a size hint to the number of elements that there can be, because types allocate for it.
    #[inline]
    fn limit(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|count| count.min(self.length))
    }

    #[cold]
    fn reject_with<E: Error>(&self, reason: fmt::Arguments<'_>) -> E {
        self.trace.format_error(ReadError::custom(reason))
    }
}

/// Shortens the text of an error, which may quote much of the message of a peer.
pub(super) fn shortened(text: &str) -> impl fmt::Display + '_ {
    Escaped(text.as_bytes(), 256)
}
