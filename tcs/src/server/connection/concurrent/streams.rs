//! Streamed replies, and large replies with a framing that has ids. Both are sent in parts, between other replies.

use std::mem::take;

use super::{
    super::{
        Next,
        rejections::{ITEM, no_more_credit},
    },
    ConcurrentDriver, Phase,
    execute::{Outcome, Reply},
};
use crate::{
    format::EncodeOutcome,
    framing::{Announcement, Framing},
    protocol::ServerProtocol,
};

/// How many bytes of a reply are sent before those of others. A single item may be longer.
const PART_LEN: usize = 16 * 1024;
/// The length in bytes up to which a reply is sent whole.
const MAX_WHOLE_REPLY: usize = 64 * 1024;

/// Returns `true` if only a part of a reply is sent next.
pub(super) fn is_large<P: ServerProtocol>(reply: &Reply) -> bool {
    let is_whole = reply.sent == 0 && reply.bytes.len() <= MAX_WHOLE_REPLY;
    let is_message = matches!(reply.encoded.outcome, EncodeOutcome::Written(_));
    P::Framing::HAS_IDS && is_message && !is_whole && reply.bytes.len() - reply.sent > PART_LEN
}

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Frames items of the stream whose turn it is. Returns `false` if there are none.
    pub(super) fn write_items(&mut self) -> bool {
        let Some(slot) = self.outbox.next_stream(&mut self.slots) else {
            return false;
        };
        self.set_id(slot);
        let Some(request) = self.slots.request_mut(slot) else {
            return false;
        };
        let credit = usize::try_from(request.credit).unwrap_or(usize::MAX);
        let mut items = take(&mut request.items);
        let (count, cost) = items.batch(credit.min(PART_LEN));
        request.credit -= i64::try_from(cost).unwrap_or(i64::MAX);
        let batch = items.iter().take(count);
        let (_, error) = self.out.write_announced(Announcement::Items, batch);
        items.advance(count);
        // `request_timeout` is for each item.
        let now = self.out.io.now();
        if let Some(request) = self.slots.request_mut(slot) {
            request.items = items;
            request.restart(now, &self.out.shared.limits);
        }
        // A stream cannot go on with a gap.
        if let Some(error) = error {
            let rejection = self.out.unsendable(ITEM, error);
            self.stop(slot, Err(rejection));
        }
        true
    }

    /// Starts the time of streams that begin to wait for credit, or ends these streams if no credit can come.
    pub(super) fn wait_for_credit(&mut self, next: &Next) {
        let now = self.out.io.now();
        let has_ended = self.phase >= Phase::Unreadable || matches!(next, Next::End(_));
        let mut starved = Vec::new();
        for slot in self.outbox.streams() {
            let Some(request) = self.slots.request_mut(slot) else {
                continue;
            };
            if has_ended && request.waits_for_credit() {
                starved.push(slot);
            } else {
                let deadline = request.start_credit_wait(now, &self.out.shared.limits);
                self.next_deadline = self.next_deadline.min(deadline);
            }
        }
        for slot in starved {
            self.stop(slot, Err(no_more_credit()));
        }
    }

    /// Frames a part of a large reply.
    pub(super) fn write_part(&mut self, slot: usize, mut reply: Reply) {
        let part = reply.bytes.get(reply.sent..).unwrap_or_default();
        let part = part.get(..PART_LEN).unwrap_or(part);
        let length = part.len();
        let parts = std::iter::once(part);
        let (_, error) = self.out.write_announced(Announcement::Parts, parts);
        let outcome = match error {
            None => {
                reply.sent += length;
                Ok(reply)
            }
            // There is no memory for this part.
            Some(error) => Err(self.out.unsendable("reply", error)),
        };
        self.slots.set_outcome(slot, outcome);
        self.outbox.put_back(slot);
    }
}
