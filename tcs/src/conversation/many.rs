//! Items that a function returns as an iterator.

use std::{convert::identity, fmt, future::Pending, ops::ControlFlow};

use super::Streams;
use crate::{ConnectionInfo, Rejection, RejectionKind, Response, format::Encode};

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

/// What a function with the option `replies` has returned. The inherent method is preferred to that of [`AnyAnswer`].
#[derive(Debug)]
#[allow(
    missing_docs,
    clippy::exhaustive_structs,
    reason = "only expansions see it"
)]
pub struct Answer<R>(pub R);

/// A response, or the future that sends its items and returns the rest.
type Sending<R, F> = ControlFlow<R, F>;

type Streamed<'a, T, P> = Response<T, Many<'a, P>>;

type Fallible<'a, T, P, E> = Result<Streamed<'a, T, P>, E>;

impl<'a, T, P> Answer<Streamed<'a, T, P>>
where
    P: Streams,
    P::Item<'a>: Encode<P::Format>,
{
    /// Returns the response, or sends its items.
    pub fn send(
        self,
        info: &ConnectionInfo,
    ) -> Sending<Streamed<'a, T, P>, impl Future<Output = Result<Streamed<'a, T, P>, Rejection>>>
    {
        match self.0 {
            Response::Many(reply, items) => {
                ControlFlow::Continue(send(reply, items, info, identity))
            }
            other => ControlFlow::Break(other),
        }
    }
}

impl<'a, T, P, E> Answer<Fallible<'a, T, P, E>>
where
    P: Streams,
    P::Item<'a>: Encode<P::Format>,
{
    /// Returns the response, or sends its items.
    #[expect(
        clippy::type_complexity,
        reason = "an alias cannot name the future that is returned"
    )]
    pub fn send(
        self,
        info: &ConnectionInfo,
    ) -> Sending<
        Fallible<'a, T, P, E>,
        impl Future<Output = Result<Fallible<'a, T, P, E>, Rejection>>,
    > {
        match self.0 {
            Ok(Response::Many(reply, items)) => ControlFlow::Continue(send(reply, items, info, Ok)),
            other => ControlFlow::Break(other),
        }
    }
}

/// What [`Answer`] is for other replies, which need not be `Send`: nothing waits while it is there.
#[allow(missing_docs, reason = "only expansions see it")]
pub trait AnyAnswer<R> {
    fn send(self, info: &ConnectionInfo) -> Sending<R, Pending<Result<R, Rejection>>>;
}

impl<R> AnyAnswer<R> for Answer<R> {
    fn send(self, _info: &ConnectionInfo) -> Sending<R, Pending<Result<R, Rejection>>> {
        ControlFlow::Break(self.0)
    }
}

/// Sends the items, up to the first error. Returns the rest of the response, as `wrap` makes it.
async fn send<'a, T, P: Streams, R>(
    reply: T,
    items: Many<'a, P>,
    info: &ConnectionInfo,
    wrap: impl FnOnce(Streamed<'a, T, P>) -> R,
) -> Result<R, Rejection>
where
    P::Item<'a>: Encode<P::Format>,
{
    let mut out = info.replies::<P>();
    for item in items {
        // An item need not be `Send`.
        let encoded = out.encode(item.map_err(Rejection::error)?);
        if encoded.map_err(|error| Rejection::new(RejectionKind::Failed, error.to_string()))? {
            out.stage().await;
        }
    }
    Ok(wrap(Response::Reply(reply)))
}
