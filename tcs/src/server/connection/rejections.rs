//! Rejections that a connection makes itself, and their texts.

use super::{clocks::frame_limit, end::Interrupt};
use crate::{
    Rejection, RejectionKind,
    buffer::ReadBuffer,
    framing::{FrameError, FrameKind, Framing},
    server::{limits::Limits, rejected::TOO_OLD, time::Limit},
};

/// Why there is no memory for a large frame.
pub(super) const MEMORY_IN_USE: &str = "the memory for large frames is in use (`memory_budget`)";

/// Why TLS does not start.
pub(super) const TLS_BESIDE_OTHERS: &str = "TLS cannot start beside other requests";

/// Why the connection closes after its functions were dropped at the end of `half_close_timeout`. Their rejections are
/// not final.
pub(super) const AFTER_HALF_CLOSE: &str = "the time after the end of the input is over";

/// Why the connection closes after a request whose next chunk was not received.
pub(super) const IN_CHUNK: &str = "the rest of the chunk was not read";

/// What the text of a rejection calls an item.
pub(super) const ITEM: &str = "item of the reply";

/// Returns an error for a control frame that clients do not send. Chunks that the function did not take are no error.
pub(super) fn check_control(kind: FrameKind) -> Result<(), FrameError> {
    match kind {
        FrameKind::Control(code @ ..0x80) => Err(FrameError::malformed(format_args!(
            "a control frame of kind {code:#04x}, which clients do not send"
        ))),
        _ => Ok(()),
    }
}

/// Interrupts a wait of a connection that drains. `read` may have the beginning of a frame.
pub(super) fn draining(read: &ReadBuffer, is_retired: bool) -> Interrupt {
    Interrupt::Rejected(going_away(if is_retired {
        TOO_OLD
    } else if read.has_started() {
        "the server is stopping, and the frame was not complete"
    } else {
        "the server is stopping"
    }))
}

/// Interrupts the wait of an idle connection whose place is needed.
pub(super) fn evicted() -> Interrupt {
    let text = "the server needs the place of this idle connection (`at_capacity`)";
    Interrupt::Rejected(Rejection::new(RejectionKind::Idle, text))
}

/// Interrupts a wait because others need the memory, or the budget has none.
pub(super) fn memory_in_use() -> Interrupt {
    Interrupt::Rejected(Rejection::busy(MEMORY_IN_USE))
}

/// Interrupts a wait because the system has no memory.
pub(super) fn out_of_memory() -> Interrupt {
    let text = "the server has no memory for a frame of this size";
    Interrupt::Rejected(Rejection::busy(text))
}

/// Returns the final rejection of a peer that sends no request for `idle_timeout`.
pub(super) fn idle(limit: Limit) -> Rejection {
    let text = format!("no request arrived for {limit} (`idle_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}

/// Returns the rejection of a request of `length` bytes. `arrived` is the part of it that has arrived.
pub(super) fn too_large<F: Framing>(length: usize, limit: usize, arrived: &[u8]) -> Rejection {
    let error = FrameError::too_large(length, limit);
    Rejection::new(RejectionKind::TooLarge, error.to_string()).of_request::<F>(arrived)
}

/// Returns the final rejection of a frame that was not complete in time.
pub(super) fn late_frame(limits: &Limits, read: &ReadBuffer) -> Rejection {
    let limit = frame_limit(limits, read.arrived_of_frame());
    let text = format!("the frame was not complete after {limit} (`frame_timeout`)");
    Rejection::new(RejectionKind::Idle, text)
}

/// Returns the rejection of a request with a chunk that was not complete within this limit.
pub(super) fn late_chunk(limit: Limit) -> Rejection {
    let text = format!("the chunk was not complete after {limit} (`frame_timeout`)");
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the rejection of a request without a chunk within this limit.
pub(super) fn no_chunk(limit: Limit) -> Rejection {
    let text = format!("no chunk of the request arrived within {limit} (`idle_timeout`)");
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the rejection of a request whose function was dropped at the end of `request_timeout`.
pub(super) fn timed_out(limits: &Limits) -> Rejection {
    let text = format!(
        "no reply within {} (`request_timeout`)",
        limits.request_timeout
    );
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the rejection of a streamed reply whose items have waited for credit for `write_timeout`.
pub(super) fn no_credit(limits: &Limits) -> Rejection {
    let limit = limits.write_timeout;
    let text = format!("no credit for further items of the reply within {limit} (`write_timeout`)");
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the rejection of a streamed reply whose items wait for credit that cannot be read.
pub(super) fn credit_out_of_reach() -> Rejection {
    let text = "64 KiB of further requests have arrived before credit for items of the reply";
    Rejection::new(RejectionKind::Failed, text)
}

/// Returns the rejection of a streamed reply whose items wait for credit, although nothing more is received.
pub(super) fn no_more_credit() -> Rejection {
    let text = "the input has ended without credit for further items of the reply";
    Rejection::new(RejectionKind::Failed, text)
}

/// Returns the rejection of a request whose client has set a deadline that is over.
pub(super) fn client_timed_out() -> Rejection {
    let text = "no reply before the deadline of the client";
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the rejection of a request whose function was dropped at the end of `half_close_timeout`.
pub(super) fn half_closed(limits: &Limits) -> Rejection {
    let limit = limits.half_close_timeout;
    let text = format!("no reply within {limit} after the end of the input (`half_close_timeout`)");
    Rejection::new(RejectionKind::TimedOut, text)
}

/// Returns the final rejection of a server that closes the connection.
pub(super) fn going_away(text: &str) -> Rejection {
    Rejection::new(RejectionKind::GoingAway, text)
}

pub(super) fn cancelled() -> Rejection {
    Rejection::new(RejectionKind::Cancelled, "the client has cancelled it")
}
