//! Why waits end, and connections.

use std::{fmt, io};

use super::super::{limits::Limit, registry::AbortReason};
use crate::{framing::FrameError, text::Text};

/// Why a connection is dropped without sending what is left.
#[derive(Debug)]
pub(super) enum Dropped {
    /// The transport reported an error, such as a reset.
    Error(io::Error),
    /// The peer did not read fast enough.
    Stalled,
    /// The peer closed its sending half, which ends the connection.
    HalfClosed,
    /// The server ends the connection at once, for this reason.
    Aborted(AbortReason),
    /// The peer does not read, and there is no memory for what it does not read.
    OverBudget,
    /// The queue of events is full, which ends the connection (`PushOverflow::Close`).
    PushOverflow,
    /// This has failed, and was logged.
    Failed(&'static str),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The stream may be of the user, and its error may quote the peer.
            Self::Error(error) => Text::new(error).fmt(f),
            Self::Stalled => f.write_str("the peer does not read (`write_timeout`)"),
            Self::HalfClosed => f.write_str("the peer has closed its sending half"),
            Self::Aborted(reason) => f.write_str(reason.text()),
            Self::OverBudget => f.write_str(
                "the peer does not read, and the memory for large replies is in use (`memory_budget`)",
            ),
            Self::PushOverflow => f.write_str(
                "the peer does not read, and its events exceed the limit (`max_push_queue`, or `memory_budget`)",
            ),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

/// Why a connection stops waiting for a request, or for the rest of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// `idle_timeout` is over, or the [`frame_limit`] of a started frame.
    TimedOut,
    /// The server drains. No frame has started, or it was not complete in time.
    Draining,
    /// The connection drains because of its age.
    Retired,
    /// The system has no memory for the rest of a frame.
    OutOfMemory,
    /// The memory budget has none for it, or others wait for what this frame has.
    OverBudget,
    /// The server needs the place of an idle connection.
    Evicted,
}

/// Why a function is dropped, or its reply, although its peer can still be written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// `request_timeout` is over.
    TimedOut,
    /// `half_close_timeout` is over.
    HalfClosed,
    /// This [`frame_limit`](super::clocks::frame_limit) of a frame that has begun is over, or others wait for its memory.
    CutFrame(Limit),
    /// There is no memory for a long chunk of the request.
    OverBudget,
    /// The framing cannot carry an item of the reply.
    Unsendable(FrameError),
    /// The server ends the connection at once, for this reason.
    Aborted(AbortReason),
}
