//! Writes the responses to requests, each in its turn.

use super::{
    super::{
        end::End,
        rejections::{AFTER_HALF_CLOSE, TLS_BESIDE_OTHERS, going_away},
    },
    ConcurrentDriver, Phase,
    execute::{Outcome, Reply, closes, failed},
    streams::is_large,
};
use crate::{
    buffer::EncodedMessage,
    format::{After, EncodeOutcome},
    framing::{Framing, Side},
    protocol::ServerProtocol,
};

impl<P: ServerProtocol, F: Future<Output = Outcome>> ConcurrentDriver<'_, P, F> {
    /// Writes responses and items until the write buffer is full.
    pub(super) fn answer(&mut self) -> Result<(), End> {
        while !self.out.write.is_full() {
            let Some(slot) = self.outbox.take_answer(&self.slots) else {
                if self.write_items() {
                    continue;
                }
                break;
            };
            self.out.write.prepare();
            self.answer_one(slot)?;
            // Items and responses alternate.
            self.write_items();
        }
        if self.phase < Phase::Closing || self.slots.in_use() > 0 {
            return Ok(());
        }
        if let Some(error) = self.bad_frame.take() {
            self.out.write.prepare();
            let limit = self.out.shared.limits.max_frame_len;
            let unread = self.read.input(limit, Side::Server);
            self.out.bad_frame(&error, unread.bytes());
        } else if self.phase == Phase::HalfClosed {
            self.out.close_with_frame(&going_away(AFTER_HALF_CLOSE));
        }
        // Even if another answer has replaced the reply that was to close the connection.
        Err(End::Closed)
    }

    /// Answers the request in a slot, or sends a part of its reply.
    fn answer_one(&mut self, slot: usize) -> Result<(), End> {
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
        let responded = if closes(&outcome) && self.has_unanswered() {
            self.respond_beside_others(outcome)
        } else {
            self.respond(outcome)
        };
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
            // A later answer closes the connection.
            return Ok(());
        }
        for slot in self.outbox.take_all() {
            self.drop_function(slot);
            self.out.function_dropped("the connection closed");
        }
        if self.bad_frame.take().is_some() {
            self.out.function_dropped("the connection closed");
        }
        self.out.close_after_reply()
    }

    /// Returns `true` if there is more to answer.
    fn has_unanswered(&self) -> bool {
        self.outbox.len() > 0 || self.bad_frame.is_some()
    }

    /// Sets the id of what is written from now on to that of a request.
    pub(super) fn set_id(&mut self, slot: usize) {
        if P::Framing::HAS_IDS
            && let Some(request) = self.slots.request(slot)
        {
            self.out.framing.get_mut().set_id(request.id);
        }
    }

    fn respond(&mut self, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Ok(reply) => self.reply(reply),
            Err(rejection) => self.out.reject(&rejection),
        }
    }

    /// Frames a reply, or the rest of it.
    fn reply(&mut self, reply: Reply) -> Result<(), End> {
        let EncodedMessage { outcome, after } = reply.encoded;
        let framed = if let EncodeOutcome::Written(_) = outcome {
            let limit = self.out.shared.limits.reply_len();
            let framing = self.out.framing.get_mut();
            self.out.write.message(framing, limit, |out| {
                out.put(reply.bytes.get(reply.sent..).unwrap_or_default());
                out.set_after(after);
                Ok(())
            })
        } else {
            Err(EncodedMessage { outcome, after })
        };
        if let Err(exception) = framed {
            let has_input = self.read.has_started() || !self.ahead.is_unused();
            let is_last = !has_input && self.backlog.is_empty();
            return self.out.exceptional_reply(exception, is_last);
        }
        self.out.io.count_reply();
        self.out.after_response()
    }
}

/// Returns `true` if nothing is sent for a reply.
const fn is_silent(reply: &Reply) -> bool {
    matches!(reply.encoded.outcome, EncodeOutcome::Nothing)
}
