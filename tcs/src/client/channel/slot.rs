//! What is known of a call.

use std::task::Waker;

use crate::{Rejection, RejectionKind, client::timer::TICKS};

/// What is known of a call.
///
/// It is a line of the processor's cache, so that many calls cost no more than few.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) stage: Stage,
    /// The reply, or the text of a refusal.
    pub(super) reply: Vec<u8>,
    pub(super) waker: Option<Waker>,
    /// Where its request begins, counted in the bytes of all requests; for a reply that is too
    /// large, how many bytes that has.
    pub(super) start: u64,
    /// When it was made.
    pub(super) tick: u32,
    /// The slot behind it in its list.
    pub(super) next: usize,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its reply is to come.
    Open,
    /// Its reply is to come, and nobody waits for it.
    Abandoned,
    /// Its reply is to come too late.
    Late,
    /// Its reply is in the buffer of the slot, and its caller has to look.
    Replied,
    /// These are other outcomes, for which its caller has to look.
    Rejected(RejectionKind),
    TooLarge,
    Failed,
}

/// What came of a call instead of a reply.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A reply of this many bytes, beyond the limit.
    TooLarge(u64),
    Rejected(Rejection),
    /// The connection failed. The request begins at this position.
    Failed(u64),
    /// Nothing in time; the reply is still to come.
    TimedOut,
}

impl Slot {
    pub(super) const fn new(start: u64, tick: u32, waker: Waker, next: usize) -> Self {
        Self {
            stage: Stage::Open,
            reply: Vec::new(),
            waker: Some(waker),
            start,
            tick,
            next,
        }
    }

    pub(super) const fn is_late(&self, tick: u32) -> bool {
        tick.wrapping_sub(self.tick) > TICKS
    }

    /// Notes what came of its call instead of a reply.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.stage = match outcome {
            Outcome::Rejected(rejection) => {
                self.reply.clear();
                self.reply.extend_from_slice(rejection.text().as_bytes());
                Stage::Rejected(rejection.kind())
            }
            Outcome::TooLarge(length) => {
                self.start = length;
                Stage::TooLarge
            }
            Outcome::Failed(start) => {
                self.start = start;
                Stage::Failed
            }
            Outcome::TimedOut => Stage::Late,
        };
    }

    /// Returns what came of its call instead of a reply, if that is known.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        Some(match self.stage {
            Stage::Open | Stage::Abandoned | Stage::Replied => return None,
            Stage::Rejected(kind) => {
                let text = String::from_utf8_lossy(&self.reply);
                Outcome::Rejected(Rejection::new(kind, text))
            }
            Stage::TooLarge => Outcome::TooLarge(self.start),
            Stage::Failed => Outcome::Failed(self.start),
            Stage::Late => Outcome::TimedOut,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_a_line_of_a_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }
}
