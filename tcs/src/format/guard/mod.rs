//! What keeps a peer's message from nesting without end, and from claiming what it does not hold.
//!
//! `rmp-serde` does not limit how deep enums and options nest, so a few kilobytes could overflow the
//! stack, which ends the process; and it does not tell where an error is. [`Guarded`] wraps a
//! deserializer, and everything that it hands on, and counts. The other formats have limits of their
//! own.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::Error;

mod elements;
mod values;

/// How many lists, maps, structs, enums and options a message may have inside one another: as many
/// as `serde_json` allows.
const DEPTH: u32 = 128;

/// What is watched while one message is read.
pub(super) struct Guard {
    /// How many bytes the message has, which is the most elements that it can have.
    length: usize,
    /// How many elements all lists together may still claim.
    claims: Cell<usize>,
    excess: Cell<Option<Excess>>,
    /// The elements in which an error is, from the innermost outwards.
    path: RefCell<Vec<usize>>,
}

/// Why the guard refused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It nests too deep.
    Depth,
    /// A list or map is said to have more elements than the message has bytes.
    Elements(usize),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth => write!(f, "it nests deeper than {DEPTH} levels"),
            Self::Elements(count) => {
                write!(
                    f,
                    "it claims {count} elements, which is more than its bytes"
                )
            }
        }
    }
}

impl Guard {
    /// Watches a message of so many bytes.
    pub(super) const fn new(length: usize) -> Self {
        Self {
            length,
            claims: Cell::new(length),
            excess: Cell::new(None),
            path: RefCell::new(Vec::new()),
        }
    }

    /// Wraps a deserializer.
    pub(super) const fn wrap<D>(&self, inner: D) -> Guarded<'_, D> {
        Guarded {
            inner,
            guard: self,
            depth: DEPTH,
            is_counted: false,
        }
    }

    /// Returns why the guard refused the message, if it did.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Says in which element of which element an error is: `/2/0`; `/` is the whole.
    pub(super) fn path(&self) -> String {
        let path = self.path.borrow();
        let indices: Vec<_> = path.iter().rev().map(ToString::to_string).collect();
        format!("/{}", indices.join("/"))
    }

    #[cold]
    fn refuse<E: Error>(&self, excess: Excess) -> E {
        self.excess.set(Some(excess));
        E::custom("")
    }

    #[cold]
    fn failed_in(&self, index: usize) {
        self.path.borrow_mut().push(index);
    }
}

/// A part of serde's machinery under watch.
pub(super) struct Guarded<'g, T> {
    inner: T,
    guard: &'g Guard,
    /// How many levels may follow.
    depth: u32,
    /// Whether the message says how many elements a list has, and not its type.
    is_counted: bool,
}

impl<'g, T> Guarded<'g, T> {
    #[inline]
    fn with<U>(&self, inner: U) -> Guarded<'g, U> {
        Guarded {
            inner,
            guard: self.guard,
            depth: self.depth,
            is_counted: false,
        }
    }

    /// Takes the part out, and wraps another one, a level deeper.
    #[inline]
    fn enter<U, E: Error>(self, inner: U) -> Result<(T, Guarded<'g, U>), E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(self.guard.refuse(Excess::Depth));
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
            None => Err(self.guard.refuse(Excess::Elements(claimed))),
        }
    }
}
