//! Whether requests of one connection are processed at the same time, and the session that they share.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{panics::Payload, protocol::ServerProtocol};

/// Returns `true` if requests of one connection are processed at the same time.
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
