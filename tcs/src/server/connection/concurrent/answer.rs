//! Answers requests, each when it is its turn.

use super::{
    super::{
        end::End,
        rejections::{AFTER_HALF_CLOSE, TLS_BESIDE_OTHERS, going_away},
        respond::Responder,
    },
    ConcurrentDriver, Phase, Unreadable,
    execute::{Outcome, Reply, closes, failed},
    slots::SlotIndex,
    streams::is_large,
};
use crate::{
    buffer::{Buffers, EncodedMessage, ReadBuffer},
    format::{After, EncodeOutcome},
    framing::{Framing, Side},
    protocol::ServerProtocol,
};

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Writes the replies whose turn it is, until the write buffer is full.
    pub(super) fn answer(&mut self) -> Result<(), End> {
        while !self.buffers.write.is_full() {
            let Some(slot) = self.outbox.take_answer(&self.slots) else {
                if self.write_items() {
                    continue;
                }
                break;
            };
            self.buffers.write.prepare();
            self.answer_one(slot)?;
            // Replies and items take turns.
            self.write_items();
        }
        if self.phase < Phase::Closing || self.slots.in_use() > 0 {
            return Ok(());
        }
        if let Some(unreadable) = self.unreadable.take() {
            self.answer_unreadable(unreadable)?;
        } else if self.phase == Phase::HalfClosed {
            let why = going_away(AFTER_HALF_CLOSE);
            self.responder().close_with_frame(&why);
        }
        // Even if another answer has replaced the reply that was to close the connection.
        Err(End::Closed)
    }

    /// Answers input that is not a request.
    #[cold]
    fn answer_unreadable(&mut self, unreadable: Unreadable) -> Result<(), End> {
        let (mut responder, read) = self.responder_and_input();
        responder.write.prepare();
        match unreadable {
            Unreadable::CutFrame(rejection) => responder.reject(&rejection),
            Unreadable::BadFrame(error) => {
                let unread = read.input(responder.shared.limits.max_frame_len, Side::Server);
                responder.bad_frame(&error, unread.bytes());
                Ok(())
            }
        }
    }

    /// Answers the request in a slot, or sends a part of its reply.
    fn answer_one(&mut self, slot: SlotIndex) -> Result<(), End> {
        self.set_id(slot);
        let Some(outcome) = self.slots.take_outcome(slot) else {
            return Ok(());
        };
        match outcome {
            Ok(reply) if is_large::<P>(&reply) => {
                self.write_part(slot, reply);
                return Ok(());
            }
            _ => self.slots.release(slot),
        }
        if closes(&outcome) && self.has_unanswered() {
            return self.respond_beside_others(outcome);
        }
        let responded = self.respond(outcome);
        if responded.is_err() && !self.outbox.is_ordered && self.slots.in_use() > 0 {
            // This request has no answer, so the connection closes. Those in flight still have theirs.
            self.phase = self.phase.max(Phase::Closing);
            return Ok(());
        }
        responded
    }

    /// Answers a request after which the connection closes, although others are not answered. The final frame comes after
    /// them, because it says that they were not executed.
    #[cold]
    fn respond_beside_others(&mut self, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Ok(reply) if reply.encoded.after == After::StartTls => {
                self.respond(failed(TLS_BESIDE_OTHERS))?;
            }
            Ok(mut reply) if !self.outbox.is_ordered || !is_silent(&reply) => {
                reply.encoded.after = After::Continue;
                self.reply(reply)?;
            }
            Err(rejection) => {
                self.respond(failed(rejection.text()))?;
            }
            // Nothing can follow a reply without bytes.
            other => return self.respond(other),
        }
        if !self.outbox.is_ordered && self.has_unanswered() {
            // The last answer that closes the connection closes it.
            return Ok(());
        }
        for slot in self.outbox.take_all() {
            self.drop_function(slot);
            self.responder().function_dropped("the connection closed");
        }
        if self.unreadable.take().is_some() {
            self.responder().function_dropped("the connection closed");
        }
        self.responder().close_after_reply()
    }

    /// Returns `true` if there is more to answer.
    fn has_unanswered(&self) -> bool {
        self.outbox.len() > 0 || self.unreadable.is_some()
    }

    /// Sets the id of what is written from now on to that of a request.
    pub(super) fn set_id(&mut self, slot: SlotIndex) {
        if P::Framing::HAS_IDS
            && let Some(request) = self.slots.request(slot)
        {
            self.framing.get_mut().set_id(request.id);
        }
    }

    fn respond(&mut self, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Ok(reply) => self.reply(reply),
            Err(rejection) => self.responder().reject(&rejection),
        }
    }

    /// Frames a reply, or the rest of it.
    fn reply(&mut self, reply: Reply) -> Result<(), End> {
        let EncodedMessage { outcome, after } = reply.encoded;
        let framed = if let EncodeOutcome::Written(_) = outcome {
            let limit = self.shared.limits.reply_len();
            let framing = self.framing.get_mut();
            self.buffers.write.message(framing, limit, |out| {
                out.put(reply.bytes.get(reply.sent..).unwrap_or_default());
                out.set_after(after);
                Ok(())
            })
        } else {
            Err(EncodedMessage { outcome, after })
        };
        if let Err(exception) = framed {
            let Buffers { read, ahead, .. } = &*self.buffers;
            let is_last = !read.has_started() && ahead.is_unused() && self.backlog.is_empty();
            return self.responder().exceptional_reply(exception, is_last);
        }
        self.io.count_reply();
        self.responder().after_response()
    }

    pub(super) fn responder(&mut self) -> Responder<'_, P> {
        self.responder_and_input().0
    }

    fn responder_and_input(&mut self) -> (Responder<'_, P>, &ReadBuffer) {
        let Buffers { read, write, .. } = &mut *self.buffers;
        let responder = Responder {
            shared: self.shared,
            info: self.info,
            framing: self.framing,
            write,
            io: self.io,
        };
        (responder, read)
    }
}

/// Returns `true` if nothing is sent for a reply.
const fn is_silent(reply: &Reply) -> bool {
    matches!(reply.encoded.outcome, EncodeOutcome::Nothing)
}
