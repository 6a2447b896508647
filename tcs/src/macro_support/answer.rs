//! Sends the items of a reply that is an iterator ([`Response::many`]).

use std::{convert::identity, future::Pending, ops::ControlFlow};

use crate::{
    ConnectionInfo, Rejection, RejectionKind, Response, conversation::Streams, format::Encode,
    response::Many,
};

/// What a function with the option `replies` has returned. The inherent method is preferred to that of [`AnswerFallback`].
#[derive(Debug)]
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
pub trait AnswerFallback<R> {
    fn send(self, info: &ConnectionInfo) -> Sending<R, Pending<Result<R, Rejection>>>;
}

impl<R> AnswerFallback<R> for Answer<R> {
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
