//! The names of rejections.

use tcs::RejectionKind;

/// Returns the name of a rejection, as in `WIRE.md`.
pub(crate) const fn name(kind: RejectionKind) -> &'static str {
    match kind {
        RejectionKind::Error => "error",
        RejectionKind::BadRequest => "bad request",
        RejectionKind::TooLarge => "too large",
        RejectionKind::Busy => "busy",
        RejectionKind::TimedOut => "timed out by the server",
        RejectionKind::Failed => "failed",
        RejectionKind::Cancelled => "cancelled",
        RejectionKind::GoingAway => "going away",
        RejectionKind::Idle => "idle",
        RejectionKind::TooManyConnections => "too many connections",
        RejectionKind::ProtocolError => "protocol error",
        _ => "unknown rejection",
    }
}
