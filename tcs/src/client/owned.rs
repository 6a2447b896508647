//! Items and events that borrow nothing.

use std::{fmt, marker::PhantomData};

/// Items or events as a `futures_core::Stream` of `T`, which borrows nothing (feature `stream`).
///
/// [`Items::owned`](super::Items::owned), [`ChannelItems::owned`](super::ChannelItems::owned) and
/// [`Events::owned`](super::Events::owned) return it.
#[must_use = "streams do nothing unless polled"]
pub struct Owned<S, T> {
    pub(super) inner: S,
    /// Whether the stream has ended with an error after which the inner value would return it again.
    pub(super) is_over: bool,
    marker: PhantomData<fn() -> T>,
}

impl<S, T> Owned<S, T> {
    pub(super) const fn new(inner: S) -> Self {
        Self {
            inner,
            is_over: false,
            marker: PhantomData,
        }
    }

    /// Returns what is left: the events, or the items and the reply after them.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: fmt::Debug, T> fmt::Debug for Owned<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&self.inner).finish()
    }
}
