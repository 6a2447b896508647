//! Items that a function returns as an iterator.

use std::fmt;

use crate::conversation::Streams;

/// The items of a streamed reply, as an iterator: the `U` of a [`Response<T, U>`](crate::Response). Created by
/// [`Response::many`](crate::Response::many).
///
/// A test of the function can take the items from it.
pub struct Many<'a, P>(Box<dyn Items<'a, P> + Send + 'a>);

/// An iterator of items, which can be named without the bound: a type in a signature, whose option is missing, would be
/// an error wherever the signature is repeated.
trait Items<'a, P> {
    fn next(&mut self) -> Option<Result<P::Item<'a>, String>>
    where
        P: Streams;
}

impl<'a, P: Streams, I: Iterator<Item = Result<P::Item<'a>, String>>> Items<'a, P> for I {
    fn next(&mut self) -> Option<Result<P::Item<'a>, String>> {
        Iterator::next(self)
    }
}

impl<'a, P: Streams> Many<'a, P> {
    pub(crate) fn new<I>(items: I) -> Self
    where
        I: Iterator<Item = Result<P::Item<'a>, String>> + Send + 'a,
    {
        Self(Box::new(items))
    }
}

impl<'a, P: Streams> Iterator for Many<'a, P> {
    type Item = Result<P::Item<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<P> fmt::Debug for Many<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").finish_non_exhaustive()
    }
}
