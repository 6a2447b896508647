//! What was said and not sent yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::pool;
use crate::{EncodeError, FrameError, Framing, Writer, format::Outcome, framing::too_large};

/// As many bytes wait before they are sent although more replies could join them.
const FULL: usize = 64 * 1024;

/// The send buffer of a connection: whole frames, of which the first bytes may have been sent.
///
/// It is given back when the connection rests.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    buffer: Vec<u8>,
    /// How many bytes were sent.
    sent: usize,
    /// Where the last complete frame ends: a panic while a message is written leaves a part.
    whole: usize,
}

/// What came of a message that is no ordinary one.
#[derive(Debug)]
pub(crate) enum Unusual {
    /// It is in the buffer, and the connection closes behind it.
    Last,
    /// There is none.
    Nothing,
    /// There is an error instead of it.
    Error(String),
    /// There is an error instead of it, and the connection closes behind that.
    LastError(String),
    /// It has no form in its format.
    Encode(EncodeError),
    /// It cannot be sent in its framing.
    Frame(FrameError),
}

impl WriteBuffer {
    pub(crate) const fn new() -> Self {
        Self::over(Vec::new())
    }

    pub(super) const fn over(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            sent: 0,
            whole: 0,
        }
    }

    /// Returns how many bytes were sent since the buffer was last empty.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Returns how many bytes wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.whole - self.sent
    }

    /// Returns `true` if so much waits that it should be sent now, also what is sent in part.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.whole >= FULL
    }

    /// Returns `true` if nothing is written that is not sent.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.whole == 0
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes a buffer if there is none, and removes what a panic left of a message.
    ///
    /// To be called before messages are written, once for many.
    #[inline]
    pub(crate) fn prepare(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool::take();
        }
        self.buffer.truncate(self.whole);
    }

    /// Frames the message that `encode` writes; unless it is told otherwise, it is in the buffer.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs a fifth of a small request"
    )]
    pub(crate) fn message<F: Framing>(
        &mut self,
        framing: &mut F,
        limit: usize,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), Unusual> {
        framing.begin(&mut self.buffer);
        let mut writer = Writer::new(&mut self.buffer, limit);
        if let Some(values) = framing.values() {
            writer.admit(values);
        }
        let encoded = encode(&mut writer);
        if encoded.is_err() || !writer.is_message() {
            let outcome = writer.into_outcome();
            return Err(self.unusual(framing, encoded.map(|()| outcome), limit));
        }
        match framing.finish(&mut self.buffer, self.whole) {
            Ok(()) => {
                self.whole = self.buffer.len();
                Ok(())
            }
            Err(error) => Err(self.unsendable(error)),
        }
    }

    /// Deals with everything but an ordinary message.
    #[cold]
    fn unusual<F: Framing>(
        &mut self,
        framing: &mut F,
        encoded: Result<Outcome, EncodeError>,
        limit: usize,
    ) -> Unusual {
        let unusual = match encoded {
            Ok(Outcome::Message | Outcome::Last) => {
                return match framing.finish(&mut self.buffer, self.whole) {
                    Ok(()) => {
                        self.whole = self.buffer.len();
                        Unusual::Last
                    }
                    Err(error) => self.unsendable(error),
                };
            }
            Ok(Outcome::Nothing) => Unusual::Nothing,
            Ok(Outcome::Error(text)) => Unusual::Error(text),
            Ok(Outcome::LastError(text)) => Unusual::LastError(text),
            Ok(Outcome::TooLarge(length)) => Unusual::Frame(beyond(length, limit)),
            Err(error) => Unusual::Encode(error),
        };
        self.buffer.truncate(self.whole);
        unusual
    }

    #[cold]
    fn unsendable(&mut self, error: FrameError) -> Unusual {
        self.buffer.truncate(self.whole);
        Unusual::Frame(error)
    }

    /// Appends frames that are complete, such as a rejection, and returns what `write` returns.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        self.prepare();
        let told = write(&mut self.buffer);
        self.whole = self.buffer.len();
        told
    }

    /// Sends what waits.
    ///
    /// Cancel safe: what was sent is not sent again.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        while self.sent < self.whole {
            let waiting = self.buffer.get(self.sent..self.whole).unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write(cx, waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        let sent = self.sent;
        if sent > 0 {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.clear();
        }
        Poll::Ready(Ok(sent))
    }

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        self.whole = 0;
        self.buffer.clear();
    }

    /// Gives the memory back, if nothing waits in it.
    pub(crate) fn give_back(&mut self) {
        if self.whole == 0 && self.buffer.capacity() > 0 {
            pool::give(&mut self.buffer);
        }
    }
}

#[cold]
fn beyond(length: usize, limit: usize) -> FrameError {
    FrameError::unsendable(too_large(length, limit))
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.clear();
        self.give_back();
    }
}
