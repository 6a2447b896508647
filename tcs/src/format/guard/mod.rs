//! A wrapper of serde's deserializers that limits what a peer's message may cost.
//!
//! It limits how deep values nest, because a few kilobytes, or one byte for `struct
//! Link(Option<Box<Link>>)`, could overflow the stack otherwise, which ends the process. It limits how
//! many elements lists may claim. It lets text be borrowed that a format had to rewrite. And it
//! knows what formats do not tell: in which element an error is, and what a type said.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{Deserialize, Deserializer, Error};

mod elements;
mod scratch;
mod values;

use scratch::Scratch;

/// How many lists, maps, structs, enums and options a message may have inside one another.
pub(super) const DEPTH: u32 = 128;

/// What is known while one message is read.
pub(super) struct Guard<'de> {
    /// The length of the message in bytes, which is the most elements that it can have.
    length: usize,
    /// How many levels may be inside one another.
    depth: u32,
    /// How many elements all lists together may still claim.
    claims: Cell<usize>,
    /// The elements in which an error is, from the innermost outwards.
    path: RefCell<Vec<usize>>,
    /// What the guard or a type said last against the message.
    reason: RefCell<Option<Box<str>>>,
    scratch: Scratch<'de>,
}

impl<'de> Guard<'de> {
    /// Guards a message of `length` bytes, whose values may nest `depth` levels deep.
    #[inline]
    pub(super) fn new(length: usize, depth: u32) -> Self {
        Self {
            length,
            depth,
            claims: Cell::new(length),
            path: RefCell::default(),
            reason: RefCell::default(),
            scratch: Scratch::default(),
        }
    }

    /// Lets text be borrowed from `memory` that cannot be borrowed from the message.
    #[cfg(feature = "json")]
    #[inline]
    pub(super) fn with_scratch(mut self, memory: &'de mut Vec<u8>) -> Self {
        self.scratch = Scratch::new(memory, self.length);
        self
    }

    /// Reads the value.
    #[inline]
    pub(super) fn read<T: Deserialize<'de>, D: Deserializer<'de>>(
        &self,
        inner: D,
    ) -> Result<T, D::Error> {
        let guarded = Guarded {
            inner,
            guard: self,
            depth: self.depth,
            is_counted: false,
        };
        T::deserialize(guarded).map_err(|failure| self.lower(failure))
    }

    /// Returns what the guard or a type said last against the message.
    #[cfg(feature = "postcard")]
    pub(super) fn reason(&self) -> Option<Box<str>> {
        self.reason.take()
    }

    /// Returns in which element of which element an error is: `/2/0`; `/` is the whole.
    #[cfg(feature = "messagepack")]
    pub(super) fn path(&self) -> String {
        let path = self.path.borrow();
        let indices: Vec<_> = path.iter().rev().map(ToString::to_string).collect();
        format!("/{}", indices.join("/"))
    }

    #[cold]
    fn failed_in(&self, index: usize) {
        self.path.borrow_mut().push(index);
    }

    #[cold]
    fn refuse<E: Error>(&self, reason: fmt::Arguments<'_>) -> E {
        self.lower(Failure::custom(reason))
    }

    /// Returns the error of the format for one of a type, whose text is kept.
    #[cold]
    fn lower<E: Error>(&self, failure: Failure<E>) -> E {
        match failure {
            Failure::Format(error) => error,
            Failure::Type(reason) => {
                let error = E::custom(&reason);
                self.reason.replace(Some(*reason));
                error
            }
        }
    }
}

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) enum Failure<E> {
    /// What the format said.
    Format(E),
    /// What the type said. In a box, so that results of small values fit into registers.
    Type(Box<Box<str>>),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Type(reason) => reason.fmt(f),
        }
    }
}

impl<E: Error> std::error::Error for Failure<E> {}

impl<E: Error> Error for Failure<E> {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Type(Box::new(reason.to_string().into()))
    }
}

/// A deserializer, or something that one hands on or takes, under guard.
pub(super) struct Guarded<'g, 'de, T> {
    inner: T,
    guard: &'g Guard<'de>,
    /// How many levels may follow.
    depth: u32,
    /// Whether the message says how many elements a list has, and not its type.
    is_counted: bool,
}

impl<'g, 'de, T> Guarded<'g, 'de, T> {
    /// Wraps another one in the place of this.
    #[inline]
    const fn with<U>(&self, inner: U) -> Guarded<'g, 'de, U> {
        Guarded {
            inner,
            guard: self.guard,
            depth: self.depth,
            is_counted: false,
        }
    }

    /// Takes the part out, and wraps another one, a level deeper.
    #[inline]
    fn enter<U, E: Error>(self, inner: U) -> Result<(T, Guarded<'g, 'de, U>), E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            let most = self.guard.depth;
            return Err(self
                .guard
                .refuse(format_args!("it nests deeper than {most} levels")));
        };
        let deeper = Guarded {
            depth,
            ..self.with(inner)
        };
        Ok((self.inner, deeper))
    }

    /// Refuses a list that claims more elements than there can be.
    #[inline]
    fn check<E: Error>(&self, claimed: Option<usize>) -> Result<(), E> {
        let claimed = claimed.filter(|_| self.is_counted).unwrap_or_default();
        match self.guard.claims.get().checked_sub(claimed) {
            Some(left) => {
                self.guard.claims.set(left);
                Ok(())
            }
            None => Err(self.guard.refuse(format_args!(
                "it claims {claimed} elements, which is more than its bytes"
            ))),
        }
    }
}
