//! Gives a function that waits the further messages of its request.

use std::cmp::min;

use super::dispatch::Batch;
use crate::{
    buffer::ReadAhead,
    conversation::{Chunks, ChunksEnd, Conversation, Wanted},
    framing::{Announcement, FrameError, FrameKind, Framing as _, Input, ReadState, Side},
    protocol::ServerProtocol,
};

/// How many bytes a function gets at once, apart from a single message that is longer.
const BATCH: usize = 64 * 1024;
/// How many messages a function gets at once.
const MESSAGES: usize = 256;

/// What the loop does after it has looked for what a function waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// The function does not wait for messages.
    Nothing,
    /// The function has got something, and is woken.
    Some,
    /// More must be read.
    NeedsMore,
}

impl<P: ServerProtocol> Batch<'_, P> {
    /// Looks for what the function waits for among the bytes that have arrived.
    #[cold]
    pub(super) fn feed(&mut self, conversation: &Conversation) -> Fed {
        let incoming = &conversation.incoming;
        let Some((wanted, mut batch)) = incoming.take_wanted() else {
            self.ahead.set_demand(false);
            return Fed::Nothing;
        };
        // Once: what comes later is read ahead.
        let (rest, has_ended) = self.frames.take_rest();
        self.ahead.prepend(rest, has_ended);
        let skip = incoming.skip();
        let skipped = min(skip, self.ahead.bytes().len());
        self.ahead.consume(skipped);
        incoming.set_skip(skip - skipped);
        let end = match wanted {
            _ if skipped < skip => self.truncated(),
            Wanted::Bytes(length) => {
                let bytes = self.ahead.bytes();
                let length = min(length, min(bytes.len(), BATCH));
                if let Some(piece @ [_, ..]) = bytes.get(..length) {
                    batch.push(piece);
                    self.ahead.consume(length);
                    None
                } else {
                    self.truncated()
                }
            }
            Wanted::Messages => {
                let (consumed, end) = self.parse_chunks(&mut batch);
                let arrived = self.ahead.bytes().len();
                self.ahead.consume(min(consumed, arrived));
                incoming.set_skip(consumed.saturating_sub(arrived));
                end
            }
        };
        let is_fed = incoming.give(batch, end);
        self.ahead.set_demand(!is_fed);
        if is_fed { Fed::Some } else { Fed::NeedsMore }
    }

    /// Returns the end of an input that has ended too early.
    fn truncated(&self) -> Option<ChunksEnd> {
        let has_ended = self.ahead.has_ended();
        has_ended.then(|| failed(&FrameError::truncated()))
    }

    /// Takes messages off the bytes that were read ahead. Returns how many bytes they have, of which some may not have
    /// arrived, and the end, if there was nothing before it.
    fn parse_chunks(&mut self, batch: &mut Chunks) -> (usize, Option<ChunksEnd>) {
        if P::Framing::HAS_VALUES {
            let text = "this framing makes values, which are not received one by one";
            return (0, Some(ChunksEnd::Failed(text.to_owned())));
        }
        let has_notices = self
            .framing
            .get_mut()
            .announce(&mut Vec::new(), Announcement::Chunks, 0);
        let limit = self.shared.limits.frame_len;
        let mut consumed = 0;
        let mut messages = 0;
        let end = loop {
            let input = input_at(self.ahead, consumed, limit);
            let parsed = match self.framing.parse(input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break self.ahead.has_ended().then_some(ChunksEnd::Complete),
                Err(error) => break Some(failed(&error)),
            };
            let message = input.bytes().get(parsed.payload()).unwrap_or_default();
            match parsed.kind() {
                FrameKind::Announced(Announcement::Chunks) => {
                    batch.push(message);
                    messages += 1;
                }
                // The next request.
                FrameKind::Message | FrameKind::Oversized if has_notices => {
                    break Some(ChunksEnd::Complete);
                }
                FrameKind::Message => {
                    batch.push(message);
                    // The function may not want the one after it.
                    return (consumed + parsed.consumed(), None);
                }
                FrameKind::Control(END) => {
                    consumed += parsed.consumed();
                    break Some(ChunksEnd::Complete);
                }
                FrameKind::Oversized => {
                    consumed += parsed.consumed();
                    let error = FrameError::too_large(parsed.oversized_len(), limit);
                    break Some(failed(&error));
                }
                // The loop handles it.
                FrameKind::Control(..0x80) | FrameKind::Announced(_) => {
                    break Some(ChunksEnd::Complete);
                }
                FrameKind::Skip | FrameKind::Control(_) => {}
            }
            consumed += parsed.consumed();
            if messages == MESSAGES || batch.len() >= BATCH {
                return (consumed, None);
            }
        };
        (consumed, end)
    }
}

/// The kind of the control frame after the last chunk, from `WIRE.md`.
const END: u8 = 0x84;

fn input_at(ahead: &ReadAhead, start: usize, limit: usize) -> Input<'_> {
    let state = if ahead.has_ended() {
        ReadState::Eof
    } else {
        ReadState::Idle
    };
    let bytes = ahead.bytes().get(start..).unwrap_or_default();
    Input::new(bytes, limit, Side::Server, state)
}

fn failed(error: &FrameError) -> ChunksEnd {
    ChunksEnd::Failed(error.to_string())
}
