//! Frames what a connection sends beside its replies: the items of a streamed reply, and pushed events.
//!
//! Both wait in the [`Conversation`] of the connection, as messages without frames. Items are taken while the function
//! waits and when it has returned, events also before each wait for a request.

use std::task::Context;

use super::{end::End, io::Io, respond::Responder};
use crate::{
    ConnectionInfo,
    buffer::EncodedMessage,
    conversation::{Conversation, PushQueue},
    format::EncodeOutcome,
    framing::{Announcement, FrameError, Framing, Notice},
    protocol::ServerProtocol,
    server::log_limiter::log_limited,
};

/// How many times events may fill the write buffer within one poll.
pub(super) const EVENT_BATCHES: usize = 16;

/// Drops the queued events, and all later ones.
pub(super) fn close_queue(info: &ConnectionInfo, io: &Io) {
    let conversation = info.open_conversation();
    if let Some(queue) = conversation.and_then(Conversation::pushes) {
        io.registration.events().count(0, queue.close());
    }
}

impl<P: ServerProtocol> Responder<'_, P> {
    /// Frames all staged items. Returns `true` if there were some.
    ///
    /// Returns an error if the framing cannot carry an item. The items before it are framed.
    pub(super) fn write_items(&mut self, conversation: &Conversation) -> Result<bool, FrameError> {
        let items = conversation.items.take();
        if items.is_empty() {
            return Ok(false);
        }
        if P::Framing::HAS_IDS {
            conversation.credit.spend(items.cost());
        }
        let framed = self.write_announced(Announcement::Items, items.iter());
        conversation.items.recycle(items);
        match framed {
            (_, Some(error)) => Err(error),
            _ => Ok(true),
        }
    }

    /// Releases the events that the last function has pushed, and frames the events that wait; see
    /// [`write_events`](Self::write_events).
    pub(super) fn write_released_events(&mut self, cx: Option<&Context<'_>>) -> Result<bool, End> {
        let Some(conversation) = self.info.open_conversation() else {
            return Ok(false);
        };
        conversation.end_request();
        let queue = conversation.pushes();
        queue.map_or(Ok(false), |queue| self.write_events(queue, cx))
    }

    /// Frames queued events while the write buffer has room. Returns `true` if there may be more.
    ///
    /// With a context, the next event wakes the task.
    pub(super) fn write_events(
        &mut self,
        queue: &PushQueue,
        cx: Option<&Context<'_>>,
    ) -> Result<bool, End> {
        let mut events = Vec::new();
        // The limit of the queue is for a peer that does not read.
        let room = if self.io.is_stalled() {
            0
        } else {
            self.write.room()
        };
        let has_more = queue
            .take_events(room, &mut events, cx)
            .ok_or(End::PushOverflow)?;
        // Events belong to no request, and come between the messages of a request.
        let id = self.framing.get_mut().set_id(0);
        let (mut sent, mut dropped) = (0, queue.take_dropped());
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let (framed, error) =
                self.write_announced(Announcement::Events, rest.iter().map(|event| &**event));
            sent += framed as u64;
            rest = rest.get(framed..).unwrap_or_default();
            if let Some(error) = error {
                dropped += 1;
                rest = rest.get(1..).unwrap_or_default();
                log_limited!(self.log_limiter(), error, { %error, }, "an event cannot be sent; `LengthPrefixed` and `Multiplexed` carry any");
            }
        }
        self.framing.get_mut().set_id(id);
        self.io.registration.events().count(sent, dropped);
        Ok(has_more)
    }

    /// Frames messages, with an announcement. Returns the number of framed messages, and the error of the message after
    /// them, if there is one.
    pub(super) fn write_announced<'m>(
        &mut self,
        announcement: Announcement,
        messages: impl ExactSizeIterator<Item = &'m [u8]> + Clone,
    ) -> (usize, Option<FrameError>) {
        self.write.prepare();
        let start = self.write.end();
        let is_announced = self.announce(announcement, messages.len());
        let (framed, error) = self.write_messages(messages.clone());
        if error.is_some() && is_announced {
            // The announcement counts messages that are missing. Without an announcement, the framed messages stay: the
            // framing may count them itself.
            self.write.remove_from(start);
            if framed > 0 {
                self.announce(announcement, framed);
                let (_, error) = self.write_messages(messages.take(framed));
                debug_assert!(error.is_none(), "they were framed before");
            }
        }
        (framed, error)
    }

    /// Appends a notice that `count` messages follow. Returns `false` if the framing has none.
    fn announce(&mut self, announcement: Announcement, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let notice = Notice::Announce(announcement, count);
        self.write.notice(self.framing.get_mut(), notice)
    }

    /// Frames messages up to the first that cannot be framed. Returns the number of framed messages, and the error.
    fn write_messages<'m>(
        &mut self,
        messages: impl Iterator<Item = &'m [u8]>,
    ) -> (usize, Option<FrameError>) {
        let framing = self.framing.get_mut();
        let limit = self.io.registration.limits().reply_len();
        let mut framed = 0;
        for message in messages {
            let written = self.write.message(framing, limit, |out| {
                out.put(message);
                Ok(())
            });
            if let Err(EncodedMessage { outcome, .. }) = written {
                let error = match outcome {
                    EncodeOutcome::Unsendable(error) => error.of_reply(),
                    // The message is neither an error nor empty, and its encoding does not fail.
                    _ => FrameError::out_of_memory(message.len()),
                };
                return (framed, Some(error));
            }
            framed += 1;
        }
        (framed, None)
    }
}
