//! Exchanges whose framing has ids: one request in flight, and the replies to cancelled ones before it.

use std::{
    mem::take,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use super::Exchanges;
use crate::{
    Result,
    buffer::Messages,
    client::{
        deadline::CallDeadline,
        fault::{Fault, UNEXPECTED},
        replies::Received,
        requests::EncodeRequest,
        wire::{Expected, Wire},
    },
    framing::{Framing, Notice},
};

/// What a connection keeps of its requests, if its framing has ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The id of the last request.
    last: u32,
    /// The parts of the reply to the last request.
    parts: Vec<u8>,
    /// Whether the parts are a whole reply.
    is_whole: bool,
    credit: ItemCredit,
    /// How many cancelled requests have no reply yet.
    cancelled: usize,
}

impl Ids {
    pub(super) const fn cancelled(&self) -> usize {
        self.cancelled
    }

    /// Returns the message at `range`, or the last reply if it has come in parts.
    #[inline]
    pub(super) fn message_in<'a, F: Framing>(
        &'a self,
        wire: &'a Wire,
        range: Range<usize>,
    ) -> &'a [u8] {
        if F::HAS_IDS && self.is_whole {
            return &self.parts;
        }
        wire.message(range)
    }

    /// Drops the last reply.
    pub(super) fn drop_parts(&mut self) {
        self.is_whole = false;
        self.parts = Vec::new();
    }

    /// Begins the next request, with this id.
    fn begin(&mut self, id: u32) {
        self.drop_parts();
        self.credit = ItemCredit::default();
        self.last = id;
    }

    /// Adds a part of the reply. Returns the length of the parts if it is beyond the limit.
    fn add_part(&mut self, part: &[u8], limit: usize) -> Result<(), usize> {
        let length = self.parts.len() + part.len();
        if length > limit {
            self.drop_parts();
            return Err(length);
        }
        self.parts.extend_from_slice(part);
        Ok(())
    }
}

/// What was received of a stream, and for which the server has not got credit again.
#[derive(Debug, Default)]
pub(in crate::client) struct ItemCredit {
    used: usize,
}

impl ItemCredit {
    /// Counts an item. Returns the credit that the server is to get, once half of it is used.
    pub(in crate::client) fn count(&mut self, length: usize) -> Option<Notice> {
        self.used += length + Messages::OVERHEAD;
        if self.used < Notice::INITIAL_CREDIT as usize / 2 {
            return None;
        }
        let used = take(&mut self.used);
        Some(Notice::Credit(used.try_into().unwrap_or(u32::MAX)))
    }
}

impl<F: Framing> Exchanges<F> {
    /// Queues a request with a new id, and before it a notice of its deadline, if it has one. Returns where they begin.
    pub(super) fn queue_with_id(
        &mut self,
        deadline: Option<CallDeadline>,
        encode: impl EncodeRequest,
    ) -> Result<u64> {
        let id = self.ids.last.checked_add(1).unwrap_or(1);
        let framing = self.framing.get_mut();
        framing.set_id(id);
        let offset = self.wire.push(framing, encode)?;
        if let Some(deadline) = deadline {
            let notice = Notice::deadline_at(deadline.at);
            self.wire.requests.notice_before(offset, framing, notice);
        }
        self.ids.begin(id);
        self.in_flight.push_back(offset);
        Ok(offset)
    }

    /// Queues a notice about the last request.
    pub(super) fn notice(&mut self, notice: Notice) {
        self.wire.requests.notice(self.framing.get_mut(), notice);
    }

    /// Counts the request in flight as cancelled. Returns `false` if there is none.
    pub(super) fn cancel(&mut self) -> bool {
        let was_there = self.in_flight.pop_front().is_some();
        self.ids.cancelled += usize::from(was_there);
        was_there
    }

    /// Like [`poll_any`](Self::poll_any): waits for what is for the request in flight by its id, or for the connection.
    pub(super) fn poll_any_by_id(
        &mut self,
        cx: &mut Context<'_>,
        without_request: Expected,
    ) -> Poll<Result<Received, Arc<Fault>>> {
        loop {
            let in_flight = self.in_flight.oldest();
            let last = self.ids.last;
            let expected = |id| match in_flight {
                Some(offset) if id == last => Expected::reply_to::<F>(Some(offset)),
                // The message is for no request, or for a cancelled one.
                _ => Expected::ANY,
            };
            let received = ready!(self.wire.poll_receive(cx, &mut self.framing, expected))?;
            let length = received.len();
            if let Some(received) = self.route(received, without_request)? {
                return Poll::Ready(Ok(received));
            }
            ready!(self.poll_skip(length, cx))?;
        }
    }

    /// Returns what is for the request in flight, or for the connection if there is none. Skips notices and replies to
    /// cancelled requests, and collects the parts of a reply.
    fn route(
        &mut self,
        received: Received,
        without_request: Expected,
    ) -> Result<Option<Received>, Arc<Fault>> {
        let id = self.wire.received_id();
        let awaited = (!self.in_flight.is_empty()).then_some(self.ids.last);
        match received {
            Received::Event(_) => Ok(Some(received)),
            Received::Notice => Ok(None),
            _ if Some(id) == awaited => Ok(self.collect(received)),
            Received::Message(_) if id == 0 && awaited.is_none() && without_request.is_any() => {
                Ok(Some(received))
            }
            _ if id == 0 => Err(Fault::Broken(UNEXPECTED).into()),
            Received::Item(_) | Received::Part(_) => Ok(None),
            Received::Message(_) | Received::TooLarge(_) | Received::Rejection(_) => {
                self.ids.cancelled = self.ids.cancelled.saturating_sub(1);
                Ok(None)
            }
        }
    }

    /// Returns an item of the request in flight, or its result, which removes the request. Keeps a part of its reply.
    fn collect(&mut self, received: Received) -> Option<Received> {
        let result = match received {
            Received::Item(_) => return Some(received),
            Received::Part(part) => {
                let length = self.add_part(part).err()?;
                // The rest of the reply is still to come.
                self.cancel();
                return Some(Received::TooLarge(length));
            }
            Received::Message(rest) if !self.ids.parts.is_empty() => {
                let added = self.add_part(rest.clone());
                self.ids.is_whole = added.is_ok();
                added.map_or_else(Received::TooLarge, |()| Received::Message(rest))
            }
            result => result,
        };
        self.in_flight.pop_front();
        Some(result)
    }

    fn add_part(&mut self, part: Range<usize>) -> Result<(), usize> {
        let limit = self.options.reply_len();
        self.ids.add_part(self.wire.message(part), limit)
    }

    /// Counts an item that was received, and returns credit for half of what the server may send at a time.
    pub(in crate::client) fn count_item(&mut self, length: usize, cx: &mut Context<'_>) {
        if let Some(credit) = self.ids.credit.count(length) {
            self.notice(credit);
            let _: Poll<()> = self.wire.poll_flush(cx);
        }
    }
}

/// The exchanges while a call waits. If the call is dropped and the framing has ids, its request is cancelled.
pub(super) struct CancelOnDrop<'c, F: Framing>(pub(super) &'c mut Exchanges<F>);

impl<F: Framing> Drop for CancelOnDrop<'_, F> {
    fn drop(&mut self) {
        if F::HAS_IDS && !self.0.in_flight.is_empty() && !std::thread::panicking() {
            self.0.abandon_in_flight();
            // The next use of the connection sends what cannot be sent now.
            let mut cx = Context::from_waker(Waker::noop());
            let _: Poll<()> = self.0.wire.poll_flush(&mut cx);
        }
    }
}
