//! Why a function or its reply is dropped.

use super::end::End;
use crate::{
    framing::FrameError,
    server::{limits::Limit, registry::AbortReason},
};

/// Why a function or its reply is dropped. The peer is told, unless the connection has ended.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// `request_timeout` is over.
    TimedOut,
    /// `half_close_timeout` is over.
    HalfClosed,
    /// This [`frame_limit`](super::clocks::frame_limit) of a frame that has begun is over, or others wait for its memory.
    CutFrame(Limit),
    /// The function waits for a further message of its request, and nothing has arrived for this limit (`idle_timeout`).
    Silent(Limit),
    /// There is no memory for a long chunk of the request.
    OverBudget,
    /// The framing cannot carry an item of the reply.
    Unsendable(FrameError),
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
