//! How many requests of one connection are processed concurrently, and the session that they share.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::ServerProtocol;
use crate::panics::Payload;

/// How many requests of one connection are processed concurrently, and in which order they are answered.
///
/// See [`ServerProtocol::CONCURRENT`](super::ServerProtocol::CONCURRENT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    limit: usize,
    is_ordered: bool,
}

impl Concurrency {
    /// Processes up to `limit` requests concurrently, and answers them in the order in which they arrived.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0. In a constant, this is an error of the compiler.
    pub const fn ordered(limit: usize) -> Self {
        Self::new(limit, true)
    }

    /// Processes up to `limit` requests concurrently, and answers each as soon as its function returns. For
    /// protocols whose messages have ids.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0. In a constant, this is an error of the compiler.
    pub const fn unordered(limit: usize) -> Self {
        Self::new(limit, false)
    }

    const fn new(limit: usize, is_ordered: bool) -> Self {
        assert!(limit > 0, "at least one request is processed at a time");
        Self { limit, is_ordered }
    }

    /// Returns how many requests are processed concurrently.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// Returns `true` if the replies have the order of the requests.
    pub const fn is_ordered(self) -> bool {
        self.is_ordered
    }
}

/// Returns `true` if requests of one connection are processed concurrently.
pub(crate) const fn is_concurrent<P: ServerProtocol>() -> bool {
    P::WAITS && P::CONCURRENT.is_some()
}

/// Returns the session for one more request, or `None` if it cannot be shared. Returns the payload of a panic as an
/// error.
pub(crate) fn share_session<P: ServerProtocol>(
    session: &P::Session,
) -> Result<Option<P::Session>, Payload> {
    catch_unwind(AssertUnwindSafe(|| try_share::<P>(session)))
}

fn try_share<P: ServerProtocol>(session: &P::Session) -> Option<P::Session> {
    let mut shared = P::share_session(session);
    // There is nothing to share, so a protocol need not say how.
    if shared.is_none()
        && let Some(unit) = (&mut shared as &mut dyn Any).downcast_mut::<Option<()>>()
    {
        *unit = Some(());
    }
    shared
}
