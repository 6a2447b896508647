//! Gives a function the chunks and blocks that it waits for.

use std::cmp::min;

use super::{
    super::{end::End, rejections::check_control},
    SequentialDriver,
    notices::CANCEL,
};
use crate::{
    buffer::ReadAhead,
    conversation::{ChunksEnd, Conversation, Demand, Progress},
    framing::{
        Announcement, CHUNKS_END, ConnectionFraming, FrameError, FrameKind, Framing, Input,
        ReadState, Side, has_notices,
    },
    protocol::ServerProtocol,
    server::{shared::Shared, time::ClockTime},
};

/// How many bytes a function gets at once, apart from a single chunk that is longer.
const MAX_BYTES: usize = 64 * 1024;
/// How many chunks a function gets at once.
const MAX_CHUNKS: usize = 256;

impl<P: ServerProtocol> SequentialDriver<'_, P> {
    /// Gives the function what it waits for, if it has arrived, and stops its clock. Returns `true` if more must be read
    /// for it.
    #[cold]
    pub(super) fn give_chunks(
        &mut self,
        conversation: &Conversation,
        clock: &mut Option<ClockTime>,
    ) -> Result<bool, End> {
        let chunks = &conversation.chunks;
        let Some((demand, mut progress)) = chunks.begin_search() else {
            self.ahead.set_demand(false);
            return Ok(false);
        };
        if P::Framing::HAS_IDS {
            // Before the notices are consumed.
            self.find_credit(conversation)?;
        }
        self.move_rest_ahead()?;
        let before = self.ahead.len();
        let skipped = min(progress.skip, self.ahead.len());
        self.ahead.consume(skipped);
        progress.skip -= skipped;
        if skipped > 0 || demand != Demand::Chunks {
            restart_framing(self.framing, self.shared);
        }
        self.take_demanded(demand, &mut progress);
        if P::Framing::HAS_IDS {
            let consumed = before - self.ahead.len();
            self.searched = self.searched.saturating_sub(consumed);
        }
        let is_given = chunks.give(progress);
        let demanded = self.ahead.demand();
        // A function that has stopped waiting has no limit for its peer.
        self.ahead.set_demand(!is_given && chunks.is_awaited());
        if is_given || demanded.is_none() || demanded == Some(0) && self.ahead.demand() != Some(0) {
            // The time until the next chunk begins, or the time of a chunk whose first byte has arrived.
            self.io.end_frame();
        }
        if is_given {
            // `request_timeout` is for each chunk.
            *clock = None;
        }
        Ok(!is_given)
    }

    /// Takes what the function waits for off the bytes that were read ahead, or finds the end.
    fn take_demanded(&mut self, demand: Demand, progress: &mut Progress) {
        match demand {
            _ if progress.skip > 0 => {}
            Demand::Bytes(length) => {
                let bytes = self.ahead.bytes();
                let length = min(length, min(bytes.len(), MAX_BYTES));
                if let Some(piece @ [_, ..]) = bytes.get(..length) {
                    progress.messages.push(piece);
                    self.ahead.consume(length);
                    return;
                }
            }
            Demand::Chunks => {
                let limit = self.shared.limits.max_frame_len;
                let can_be_cancelled = Self::can_be_cancelled();
                return take_chunks(self.framing, self.ahead, limit, progress, can_be_cancelled);
            }
        }
        if self.ahead.has_ended() {
            progress.end = Some(failed(&FrameError::truncated()));
        }
    }

    /// Moves what was read with the request to what was read ahead. Later calls find nothing: the rest is read ahead.
    pub(super) fn move_rest_ahead(&mut self) -> Result<(), End> {
        let moved = self.frames.move_rest_to(self.ahead);
        moved.map_err(End::Error)
    }
}

/// Takes chunks off the bytes that were read ahead, up to a notice that the function is cancelled, if it can be. Records
/// whether the chunks were announced, because then the client must mark their end, too.
fn take_chunks<F: Framing>(
    framing: &mut ConnectionFraming<F>,
    ahead: &mut ReadAhead,
    limit: usize,
    progress: &mut Progress,
    can_be_cancelled: bool,
) {
    if F::HAS_VALUES {
        let text = "this framing makes values, which are not received one by one";
        progress.end = Some(ChunksEnd::Failed(text.to_owned()));
        return;
    }
    let are_announced = F::has_notices(Side::Client);
    let mut consumed = 0;
    let mut messages = 0;
    progress.end = loop {
        let input = input_at(ahead, consumed, limit);
        let has_ended = ahead.has_ended();
        if input.bytes().is_empty() && !has_ended {
            break None;
        }
        let parsed = match framing.parse(input) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if has_ended && progress.is_announced => {
                let text = "the input has ended before the end of the chunks (the notice 84)";
                break Some(ChunksEnd::Failed(text.to_owned()));
            }
            Ok(None) => break has_ended.then_some(ChunksEnd::Complete),
            Err(error) => {
                if error.is_truncated() {
                    // The rest is a part of a chunk, and no request.
                    consumed = ahead.len();
                }
                break Some(failed(&error));
            }
        };
        // The loop handles this frame.
        if let Err(error) = check_control(parsed.kind()) {
            break Some(failed(&error));
        }
        let message = input.bytes().get(parsed.payload()).unwrap_or_default();
        match parsed.kind() {
            // A client announces nothing else.
            FrameKind::Announced(_) => {
                progress.messages.push(message);
                messages += 1;
            }
            // The next request.
            FrameKind::Message | FrameKind::Oversized if are_announced => {
                break Some(ChunksEnd::Complete);
            }
            FrameKind::Message => {
                progress.messages.push(message);
                consumed += parsed.consumed();
                // The function may not want the next message.
                break None;
            }
            FrameKind::Control(CHUNKS_END) => {
                consumed += parsed.consumed();
                break Some(ChunksEnd::Complete);
            }
            FrameKind::Oversized => {
                consumed += parsed.consumed();
                let error = FrameError::too_large(parsed.oversized_len(), limit);
                break Some(failed(&error));
            }
            // The notice stays in the buffer, and the function is dropped.
            CANCEL if can_be_cancelled => break None,
            FrameKind::Control(kind) => progress.is_announced |= kind == Announcement::Chunks as u8,
            FrameKind::Skip => {}
        }
        consumed += parsed.consumed();
        if messages == MAX_CHUNKS || progress.messages.byte_len() >= MAX_BYTES {
            break None;
        }
    };
    let arrived = min(consumed, ahead.len());
    ahead.consume(arrived);
    progress.skip = consumed - arrived;
}

/// Ends the chunks of a request. Returns how many bytes must be dropped before the next request.
pub(in crate::server::connection) fn end_chunks<P: ServerProtocol>(
    conversation: &Conversation,
    framing: &mut ConnectionFraming<P::Framing>,
    ahead: &mut ReadAhead,
    shared: &Shared<P>,
) -> usize {
    if ahead.is_unused() {
        // The pool does not count the memory of this buffer.
        *ahead = ReadAhead::default();
    }
    let rest = conversation.chunks.reset();
    if rest > 0 {
        restart_framing(framing, shared);
    }
    rest
}

/// Resets how far a framing has searched for the end of a frame, after bytes that were no part of one.
fn restart_framing<P: ServerProtocol>(
    framing: &mut ConnectionFraming<P::Framing>,
    shared: &Shared<P>,
) {
    if P::Framing::HAS_INDEPENDENT_FRAMES && !has_notices::<P::Framing>() {
        *framing.get_mut() = shared.protocol.framing();
    }
}

pub(super) fn input_at(ahead: &ReadAhead, start: usize, limit: usize) -> Input<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{LengthPrefixed, Lines};

    const ONE_CHUNK: &[u8] = b"\x80\0\0\x05\x83\0\0\0\x01";
    const END: &[u8] = b"\x80\0\0\x01\x84";

    /// What is found in the bytes that were read ahead.
    #[derive(Debug, PartialEq, Eq)]
    struct Taken {
        chunks: Vec<String>,
        /// How many of the bytes are left.
        rest: usize,
        end: Option<ChunksEnd>,
        is_announced: bool,
    }

    fn take<F: Framing>(bytes: &[u8], has_ended: bool) -> Taken {
        let mut framing = ConnectionFraming::new(F::default());
        let (mut ahead, mut progress) = (ReadAhead::default(), Progress::default());
        let moved = ahead.prepend(bytes, has_ended);
        moved.expect("there is memory");
        take_chunks(&mut framing, &mut ahead, 100, &mut progress, true);
        let chunks = progress.messages.iter();
        Taken {
            chunks: chunks
                .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
                .collect(),
            rest: ahead.len(),
            end: progress.end,
            is_announced: progress.is_announced,
        }
    }

    fn taken(chunks: &[&str], rest: usize, end: Option<ChunksEnd>, is_announced: bool) -> Taken {
        let chunks = chunks.iter().map(|&chunk| chunk.to_owned()).collect();
        Taken {
            chunks,
            rest,
            end,
            is_announced,
        }
    }

    fn failed_with(text: &str) -> ChunksEnd {
        ChunksEnd::Failed(text.to_owned())
    }

    #[test]
    fn announced_chunks_are_found_up_to_their_end() {
        let open = [ONE_CHUNK, b"\0\0\0\x01a", ONE_CHUNK, b"\0\0\0\x02bc"].concat();
        let closed = [&open, END, b"\0\0\0\x04next"].concat();
        let take = take::<LengthPrefixed>;
        assert_eq!(take(&open, false), taken(&["a", "bc"], 0, None, true));
        assert_eq!(
            take(&closed, false),
            taken(&["a", "bc"], 8, Some(ChunksEnd::Complete), true)
        );
        // A chunk that has not arrived completely.
        let cut = &open[..open.len() - 1];
        assert_eq!(take(cut, false), taken(&["a"], 5, None, true));
    }

    #[test]
    fn items_of_a_client_are_no_chunks() {
        let items = b"\x80\0\0\x05\x81\0\0\0\x01";
        let bytes = [ONE_CHUNK, b"\0\0\0\x01a", items, b"\0\0\0\x01b"].concat();
        let error = "items of a reply, or events, which clients do not send";
        let expected = taken(&["a"], 5, Some(failed_with(error)), true);
        assert_eq!(take::<LengthPrefixed>(&bytes, false), expected);
    }

    #[test]
    fn next_request_ends_the_chunks() {
        let taken = take::<LengthPrefixed>(b"\0\0\0\x04next", false);
        assert_eq!((taken.rest, taken.end), (8, Some(ChunksEnd::Complete)));
    }

    #[test]
    fn control_frame_that_clients_do_not_send_is_an_error_and_stays() {
        let bad = b"\x80\0\0\x01\x3f";
        let error = "a control frame of kind 0x3f, which clients do not send";
        let bytes = [ONE_CHUNK, b"\0\0\0\x01a", bad].concat();
        for (bytes, chunks, is_announced) in [(&bytes[..], &["a"][..], true), (bad, &[], false)] {
            let expected = taken(chunks, bad.len(), Some(failed_with(error)), is_announced);
            assert_eq!(take::<LengthPrefixed>(bytes, false), expected);
        }
    }

    #[test]
    fn chunks_after_a_cancel_are_not_looked_for() {
        let cancel = b"\x80\0\0\x01\x87";
        let bytes = [ONE_CHUNK, b"\0\0\0\x01a", cancel, ONE_CHUNK, b"\0\0\0\x01b"].concat();
        for has_ended in [false, true] {
            let rest = cancel.len() + ONE_CHUNK.len() + 5;
            let expected = taken(&["a"], rest, None, true);
            assert_eq!(take::<LengthPrefixed>(&bytes, has_ended), expected);
        }
    }

    #[test]
    fn input_that_ends_early_is_an_error_where_the_end_would_be_told() {
        let open = [ONE_CHUNK, b"\0\0\0\x01a"].concat();
        let error = "the input has ended before the end of the chunks (the notice 84)";
        let taken = take::<LengthPrefixed>(&open, true);
        assert_eq!((taken.rest, taken.end), (0, Some(failed_with(error))));
        let taken = take::<LengthPrefixed>(b"", true);
        assert_eq!(taken.end, Some(ChunksEnd::Complete));
    }

    #[test]
    fn chunk_beyond_the_limit_is_an_error() {
        let oversized = [&[b'x'; 101], &b"\nb\n"[..]].concat();
        let taken = take::<Lines>(&oversized, false);
        let error = FrameError::too_large(101, 100).to_string();
        assert_eq!(taken.end, Some(failed_with(&error)));
    }

    #[test]
    fn messages_that_are_not_announced_are_found_one_by_one() {
        let take = take::<Lines>;
        assert_eq!(take(b"a\nb\n", false), taken(&["a"], 2, None, false));
        assert_eq!(take(b"", false), taken(&[], 0, None, false));
        assert_eq!(
            take(b"", true),
            taken(&[], 0, Some(ChunksEnd::Complete), false)
        );
    }

    #[test]
    fn function_gets_some_chunks_at_once() {
        let announced = b"\x80\0\0\x05\x83\0\0\x01\x01";
        let many = [&announced[..], &b"\0\0\0\0".repeat(MAX_CHUNKS + 1)].concat();
        let taken = take::<LengthPrefixed>(&many, false);
        assert_eq!((taken.chunks.len(), taken.rest), (MAX_CHUNKS, 4));
    }
}
