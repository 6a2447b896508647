//! The names of rejections, which live as long as what counts them. The texts of [`RejectionKind`] do not.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_library() {
        for kind in (0..=u8::MAX).filter_map(RejectionKind::from_code) {
            // The bench has limits of its own.
            let by_server = match kind {
                RejectionKind::TimedOut => " by the server",
                _ => "",
            };
            assert_eq!(name(kind), format!("{kind}{by_server}"));
        }
    }
}
