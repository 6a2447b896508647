//! What arrives from a server.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    task::{Context, Poll, ready},
};

use crate::{
    Error, Peer, Rejection, RejectionKind,
    buffer::{ReadAhead, ReadBuffer},
    framing::{Announcement, ConnectionFraming, FrameError, FrameKind, Framing, Side},
    transport::Stream,
};

/// How long a part of a reply may be, from `WIRE.md`. The limit of replies is for all parts together.
const MAX_PART_LEN: usize = 64 * 1024;

/// A message or rejection from the server.
#[derive(Debug)]
pub(super) enum Received {
    /// A message, at this place of the read buffer.
    Message(Range<usize>),
    /// A message of this many bytes, beyond the limit. It is skipped.
    TooLarge(usize),
    /// An item of a streamed reply, at this place of the read buffer.
    Item(Range<usize>),
    /// A part of a reply, at this place of the read buffer. The next message with the same id continues it.
    Part(Range<usize>),
    /// An event that the server has pushed, at this place of the read buffer.
    Event(Range<usize>),
    /// A rejection that is not final.
    Rejection(Rejection),
    /// Nothing: a notice, or bytes that are skipped. The caller counts it.
    Notice,
}

impl Received {
    /// Returns the number of bytes of the message.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Message(range) | Self::Item(range) | Self::Part(range) | Self::Event(range) => {
                range.len()
            }
            Self::TooLarge(length) => *length,
            Self::Rejection(_) | Self::Notice => 0,
        }
    }

    /// Returns the error of a request whose result is no message.
    #[cold]
    pub(super) fn into_error(self, peer: &Peer, max_reply_len: usize) -> Error {
        match self {
            Self::Message(_) | Self::Item(_) | Self::Part(_) | Self::Event(_) | Self::Notice => {
                Error::streamed(peer)
            }
            Self::TooLarge(length) => Error::too_large(peer, length, max_reply_len),
            Self::Rejection(rejection) => Error::rejected(peer, rejection),
        }
    }
}

/// The received bytes, and which requests they can answer.
///
/// A message answers only requests that were sent before its first byte was read. So a message is not
/// taken for a reply if it was read together with earlier replies, or if a part of it was there before.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    buffer: ReadBuffer,
    /// The bytes that were read while the last message was in use. They answer no request.
    ahead: ReadAhead,
    /// The number of bytes of requests that were sent before the first byte of the next frame was
    /// read.
    sent_before: u64,
    /// The id of the frame that was taken last, if the framing has ids.
    pub(super) id: u32,
    /// The segments of the buffer that were read after its first byte, oldest first. Usually there are
    /// none, or one while a frame is incomplete.
    segments: VecDeque<Segment>,
    /// The number of bytes read so far.
    bytes_read: u64,
    /// Whether there may be a complete frame: something was read since the last search found none.
    has_unparsed: bool,
    /// Whether reading has failed. Messages that arrived before are still delivered.
    has_failed: bool,
}

/// Received bytes that were read after the same requests were sent.
#[derive(Debug)]
struct Segment {
    /// The number of bytes that were read before the segment.
    start: u64,
    /// The number of bytes of requests that were sent before the segment was read.
    sent: u64,
}

impl ReplyReader {
    #[inline]
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.buffer.bytes_at(range)
    }

    pub(super) fn unread(&self) -> usize {
        self.buffer.unread_len()
    }

    /// Returns `true` if the rest of a frame that was already handled has not arrived.
    pub(super) fn is_skipping(&self) -> bool {
        self.buffer.is_skipping()
    }

    /// Returns the bytes that were received after the last frame.
    pub(super) fn into_unread(self) -> Vec<u8> {
        self.buffer.into_unread(self.ahead)
    }

    #[inline]
    pub(super) const fn has_unparsed(&self) -> bool {
        self.has_unparsed
    }

    /// Returns `true` if the end of the input has been reached and nothing is buffered ahead.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.is_read_closed() && self.ahead.is_unused()
    }

    /// Returns `true` if nothing more can be read from the stream.
    #[inline]
    fn is_read_closed(&self) -> bool {
        self.has_failed || self.buffer.has_ended()
    }

    /// Reads once, after `sent` bytes of requests were sent. Stays pending after the end of the input.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        sent: u64,
    ) -> Poll<io::Result<()>> {
        if self.has_ended() {
            return Poll::Pending;
        }
        let unread = self.buffer.unread_len();
        let sent = if self.ahead.is_unused() { sent } else { 0 };
        let read = self.buffer.poll_read(&mut self.ahead, cx, stream);
        if read.is_pending() {
            self.buffer.release();
        }
        let read = ready!(read);
        self.record_read(unread, sent);
        self.has_failed = read.is_err();
        Poll::Ready(read.map(drop).map_err(io::Error::from))
    }

    /// Waits for the end of the input while the last message is in use.
    pub(super) fn poll_eof(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<()>> {
        if self.is_read_closed() {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(self.ahead.poll_read(cx, stream));
        self.has_failed = read.is_err();
        Poll::Ready(read)
    }

    /// Records a read: before it, there were `unread` bytes, and `sent` bytes of requests had been
    /// sent.
    #[inline]
    fn record_read(&mut self, unread: usize, sent: u64) {
        self.has_unparsed = true;
        if unread == 0 {
            self.sent_before = sent;
        } else if self
            .segments
            .back()
            .map_or(self.sent_before, |last| last.sent)
            != sent
        {
            let start = self.bytes_read;
            self.segments.push_back(Segment { start, sent });
        }
        self.bytes_read += (self.buffer.unread_len() - unread) as u64;
    }

    /// Takes the next frame from the received bytes, if one is complete. Returns it with the number of
    /// bytes of requests that were sent before it began to arrive. Does no I/O.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "every reply runs it (decision 014)")]
    pub(super) fn next_frame<F: Framing>(
        &mut self,
        framing: &mut ConnectionFraming<F>,
        max_reply_len: usize,
    ) -> Result<Option<(Received, u64)>, FrameError> {
        let sent = self.sent_before;
        let limit = if F::HAS_IDS {
            max_reply_len.max(MAX_PART_LEN)
        } else {
            max_reply_len
        };
        let input = self.buffer.input(limit, Side::Client);
        let Some(parsed) = framing.parse(input)? else {
            self.has_unparsed = false;
            if !self.segments.is_empty() {
                // All unread bytes are of one frame. The next frame begins after them.
                self.segments.clear();
            }
            return Ok(None);
        };
        if F::HAS_IDS {
            self.id = parsed.id;
        }
        let frame = self.buffer.consume(&parsed.payload, parsed.consumed);
        if !self.segments.is_empty() {
            self.enter_next_segment();
        }
        let is_reply = parsed.kind == FrameKind::Message;
        let received = if is_reply && (!F::HAS_IDS || frame.len() <= max_reply_len) {
            Received::Message(frame)
        } else {
            self.classify(parsed.kind, parsed.oversized_len(), frame, max_reply_len)?
        };
        Ok(Some((received, sent)))
    }

    #[cfg(test)]
    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Moves on to the segment in which the next frame begins.
    #[cold]
    fn enter_next_segment(&mut self) {
        while let Some(segment) = self.segments.front()
            && self.bytes_read - self.buffer.unread_len() as u64 >= segment.start
        {
            self.sent_before = segment.sent;
            self.segments.pop_front();
        }
    }

    /// Classifies a consumed frame that is not a reply within the limit.
    ///
    /// Takes the parts of the frame, so that a caller need not store a whole frame for this rare case.
    #[cold]
    fn classify(
        &self,
        kind: FrameKind,
        oversized_len: usize,
        frame: Range<usize>,
        max_reply_len: usize,
    ) -> Result<Received, FrameError> {
        let length = frame.len();
        Ok(match kind {
            FrameKind::Message => Received::TooLarge(length),
            FrameKind::Oversized => Received::TooLarge(oversized_len),
            FrameKind::Announced(Announcement::Parts) => Received::Part(frame),
            // Reported like a message beyond the limit of the framing.
            FrameKind::Announced(_) if length > max_reply_len => {
                return Err(FrameError::too_large(length, max_reply_len));
            }
            FrameKind::Announced(Announcement::Items) => Received::Item(frame),
            FrameKind::Announced(Announcement::Events) => Received::Event(frame),
            FrameKind::Announced(Announcement::Chunks) | FrameKind::Skip => Received::Notice,
            FrameKind::Control(code) => match RejectionKind::from_code(code) {
                Some(kind) => {
                    let text = String::from_utf8_lossy(self.message(frame));
                    Received::Rejection(Rejection::new(kind, text))
                }
                None => Received::Notice,
            },
        })
    }
}
