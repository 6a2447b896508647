//! What follows when a driver takes no further request now, and which other frames it may meet.

use super::end::End;
use crate::framing::{FrameError, FrameKind};

/// What the connection does when it has taken the requests that it can take now, and why.
#[derive(Debug)]
pub(super) enum Next {
    /// Flushes and reads: no complete frame is left.
    Read,
    /// Flushes: the write buffer is full, or enough requests are in flight side by side.
    Flush,
    /// Flushes and yields: the budget of this poll is spent.
    Yield,
    /// Takes no further requests. What is in flight is answered before.
    ///
    /// Boxed, so that the value is returned in a register.
    End(Box<End>),
}

impl From<End> for Next {
    fn from(end: End) -> Self {
        Self::End(Box::new(end))
    }
}

/// Returns an error for a control frame that clients do not send. Chunks that the function did not take are skipped.
pub(super) fn check_control(kind: FrameKind) -> Result<(), FrameError> {
    match kind {
        FrameKind::Control(code @ ..0x80) => Err(FrameError::malformed(format_args!(
            "a control frame of kind {code:#04x}, which clients do not send"
        ))),
        _ => Ok(()),
    }
}
