//! What arrives from a server.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::fault::{Fault, io_error};
use crate::{
    Error, Peer, Rejection, RejectionKind, Result,
    buffer::{ReadAhead, ReadBuffer},
    framing::{ConnectionFraming, FrameError, FrameKind, Framing, Side},
    transport::Stream,
};

/// What a server says.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message, at this place of the read buffer.
    Message(Range<usize>),
    /// A message of this many bytes, beyond the limit, which is skipped.
    TooLarge(usize),
    /// A rejection that is not final.
    Rejection(Rejection),
}

impl Incoming {
    /// Returns the place of the message, or the error of the request.
    #[inline]
    pub(super) fn into_range(self, peer: &Peer, max_frame_len: usize) -> Result<Range<usize>> {
        match self {
            Self::Message(range) => Ok(range),
            Self::TooLarge(length) => Err(Error::too_large(peer, length, max_frame_len)),
            Self::Rejection(rejection) => Err(Error::rejected(peer, rejection)),
        }
    }
}

/// The received bytes, and which requests they can answer.
///
/// A message answers only requests that were sent before its first byte was read. So a message that
/// was read together with earlier replies, or of which a part was there before, is not taken for a
/// reply.
#[derive(Debug, Default)]
pub(super) struct Replies {
    buffer: ReadBuffer,
    /// What was read while the last message was in use. It answers no request.
    ahead: ReadAhead,
    /// The number of bytes of requests that were sent before the first byte of the next frame was
    /// read.
    sent_before: u64,
    /// The parts of the buffer that were read after its first byte, oldest first. Usually there are
    /// none, or one while a frame is incomplete.
    later: VecDeque<Part>,
    /// The number of bytes read so far.
    received: u64,
    /// Whether there may be a complete frame: something was read since the last search found none.
    is_unparsed: bool,
    /// Why reading has failed. What arrived before is still delivered.
    fault: Option<Arc<Fault>>,
}

/// A part of the received bytes.
#[derive(Debug)]
struct Part {
    /// The number of bytes that were received before it.
    received: u64,
    /// The number of bytes of requests that were sent before it was read.
    sent: u64,
}

impl Replies {
    #[inline]
    pub(super) fn message(&self, range: Range<usize>) -> &[u8] {
        self.buffer.frame(range)
    }

    pub(super) fn unread(&self) -> usize {
        self.buffer.unread_len()
    }

    #[inline]
    pub(super) const fn is_drained(&self) -> bool {
        !self.is_unparsed
    }

    /// Returns `true` if all that arrives was read.
    #[inline]
    pub(super) fn have_ended(&self) -> bool {
        self.is_stream_over() && self.ahead.is_empty()
    }

    #[inline]
    fn is_stream_over(&self) -> bool {
        self.fault.is_some() || self.buffer.has_ended()
    }

    pub(super) const fn fault(&self) -> Option<&Arc<Fault>> {
        self.fault.as_ref()
    }

    /// Reads once, after `sent` bytes of requests were sent. Stays pending after the end of the input.
    #[inline]
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        sent: u64,
    ) -> Poll<()> {
        if self.have_ended() {
            return Poll::Pending;
        }
        let unread = self.buffer.unread_len();
        let sent = if self.ahead.is_empty() { sent } else { 0 };
        let read = self.buffer.poll_read(&mut self.ahead, cx, stream);
        if read.is_pending() {
            self.buffer.release();
        }
        let read = ready!(read);
        self.note_read(unread, sent);
        self.note_result(read);
        Poll::Ready(())
    }

    /// Waits for the end of the input while the last message is in use.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<()> {
        if !self.is_stream_over() {
            let read = ready!(self.ahead.poll_read(cx, stream));
            self.note_result(read);
        }
        Poll::Ready(())
    }

    /// Records the error of a read, if there is one.
    #[inline]
    fn note_result(&mut self, read: io::Result<()>) {
        if let Err(error) = read {
            self.fault = Some(Fault::Read(io_error(&error)).into());
        }
    }

    /// Records a read: before it, there were `unread` bytes, and `sent` bytes of requests had been
    /// sent.
    #[inline]
    fn note_read(&mut self, unread: usize, sent: u64) {
        self.is_unparsed = true;
        if unread == 0 {
            self.sent_before = sent;
        } else if self.later.back().map_or(self.sent_before, |last| last.sent) != sent {
            let received = self.received;
            self.later.push_back(Part { received, sent });
        }
        self.received += (self.buffer.unread_len() - unread) as u64;
    }

    /// Takes the next frame from the received bytes, if one is complete. Returns it with the number of
    /// bytes of requests that were sent before it began to arrive. Does no I/O.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `Wire::poll_receive`")]
    pub(super) fn next<F: Framing>(
        &mut self,
        framing: &mut ConnectionFraming<F>,
        max_frame_len: usize,
    ) -> Result<Option<(Incoming, u64)>, FrameError> {
        loop {
            let sent = self.sent_before;
            let input = self.buffer.input(max_frame_len, Side::Client);
            let Some(parsed) = framing.parse(input)? else {
                self.is_unparsed = false;
                if !self.later.is_empty() {
                    // All unread bytes are of one frame. The next frame begins after them.
                    self.later.clear();
                }
                return Ok(None);
            };
            let frame = self.buffer.consume(&parsed.payload, parsed.consumed);
            if !self.later.is_empty() {
                self.enter_later();
            }
            if parsed.kind == FrameKind::Message {
                return Ok(Some((Incoming::Message(frame), sent)));
            }
            if let Some(incoming) = self.unusual(parsed.kind, parsed.payload.len(), frame) {
                return Ok(Some((incoming, sent)));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.later.len()
    }

    /// Moves on to the part in which the next frame begins.
    #[cold]
    fn enter_later(&mut self) {
        while let Some(part) = self.later.front()
            && self.received - self.buffer.unread_len() as u64 >= part.received
        {
            self.sent_before = part.sent;
            self.later.pop_front();
        }
    }

    /// Classifies a consumed frame. Returns `None` for a notice, and for bytes that are skipped.
    ///
    /// Takes the parts of the frame, so that a caller need not store a whole one for a call that is rare.
    #[cold]
    pub(super) fn unusual(
        &self,
        kind: FrameKind,
        length: usize,
        frame: Range<usize>,
    ) -> Option<Incoming> {
        match kind {
            FrameKind::Message => Some(Incoming::Message(frame)),
            FrameKind::Oversized => Some(Incoming::TooLarge(length)),
            FrameKind::Skip => None,
            FrameKind::Control(code) => {
                let kind = RejectionKind::from_code(code)?;
                let text = String::from_utf8_lossy(self.message(frame));
                Some(Incoming::Rejection(Rejection::new(kind, text)))
            }
        }
    }
}
