//! Why functions are dropped before they return.

use super::end::End;
use crate::server::{limits::Limit, registry::AbortReason};

/// Why a wait for functions ends before one of them returns. The peer is told, unless the connection has ended.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// `request_timeout` is over.
    TimedOut,
    /// `half_close_timeout` is over.
    HalfClosed,
    /// This [`frame_limit`](super::clocks::frame_limit) of a frame that has begun is over, or others wait for its memory.
    CutFrame(Limit),
    /// There is no memory for a long chunk of the request.
    OverBudget,
    /// The server ends the connection at once, for this reason.
    Aborted(AbortReason),
    /// The connection has ended for another reason, and cannot be written to.
    Ended(End),
}

impl From<End> for Interrupt {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}
