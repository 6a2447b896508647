//! Streamed replies, and large ones with a framing that has ids: they are sent piece by piece, between others.

use std::mem::{replace, take};

use super::{
    Driver,
    execute::{Outcome, Reply},
    slots::{SlotIndex, Slots},
};
use crate::{
    buffer::EncodeOutcome,
    conversation::Messages,
    framing::{Announcement, Framing},
    protocol::ServerProtocol,
};

/// How many bytes of a reply are sent before others have their turn, apart from a single item that is longer.
const PART_LEN: usize = 16 * 1024;
/// The length in bytes up to which a reply is sent whole.
const MAX_WHOLE_REPLY: usize = 64 * 1024;

/// Returns `true` if only a part of a reply is sent next.
pub(super) const fn is_large<P: ServerProtocol>(reply: &Reply) -> bool {
    let is_whole = reply.sent == 0 && reply.bytes.0.len() <= MAX_WHOLE_REPLY;
    let is_message = matches!(reply.encoded.outcome, EncodeOutcome::Written(_));
    P::Framing::HAS_IDS && is_message && !is_whole && reply.bytes.0.len() - reply.sent > PART_LEN
}

impl<P: ServerProtocol, F: Future<Output = Outcome>> Driver<'_, P, F> {
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
        let (_, error) = self.outgoing().write_all(Announcement::Items, batch);
        items.advance(count);
        // `request_timeout` is for each item.
        let now = self.io.registration.now();
        if let Some(request) = self.slots.request_mut(slot) {
            request.items = items;
            request.restart(now, &self.shared.limits);
        }
        if let Some(error) = error {
            self.stop(slot, Outcome::Unsendable(error));
        }
        true
    }

    /// Frames a part of a large reply.
    pub(super) fn write_part(&mut self, slot: SlotIndex, mut reply: Reply) {
        let part = reply.bytes.get(reply.sent..).unwrap_or_default();
        let part = part.get(..PART_LEN).unwrap_or(part);
        let length = part.len();
        let parts = std::iter::once(part);
        let (_, error) = self.outgoing().write_all(Announcement::Parts, parts);
        debug_assert!(error.is_none(), "a part is shorter than its message may be");
        reply.sent += length;
        self.slots.set_outcome(slot, Outcome::Reply(reply));
        self.outbox.put_back(slot);
    }
}

/// The items of slots.
impl<F: Future> Slots<F> {
    /// Returns `true` if a slot has items that were not sent.
    pub(super) fn has_items(&self, index: SlotIndex) -> bool {
        let request = self.request(index);
        request.is_some_and(|request| {
            let conversation = request.info.open_conversation();
            !request.items.is_empty()
                || conversation.is_some_and(|conversation| !conversation.items.is_empty())
        })
    }

    /// Returns `true` if items of a slot may be sent.
    pub(super) fn has_credit(&self, index: SlotIndex) -> bool {
        let request = self.request(index);
        request.is_some_and(|request| request.credit > 0)
    }

    /// Takes items from the function in a slot, if the ones before were sent. Returns `true` if there are some that may be
    /// sent.
    pub(super) fn collect_items(&mut self, index: SlotIndex) -> bool {
        let Some(request) = self.request_mut(index) else {
            return false;
        };
        if request.credit <= 0 {
            return false;
        }
        if request.items.is_empty()
            && let Some(conversation) = request.info.open_conversation()
        {
            let sent = replace(&mut request.items, conversation.items.take());
            conversation.items.recycle(sent);
        }
        !request.items.is_empty()
    }

    /// Drops the items of a function that did not return.
    pub(super) fn drop_items(&mut self, index: SlotIndex) {
        if let Some(request) = self.request_mut(index) {
            request.items = Messages::default();
            if let Some(conversation) = request.info.open_conversation() {
                drop(conversation.items.take());
            }
        }
    }
}
