//! The send buffer: encoded frames that are not sent yet.
//!
//! ```text
//! | sent | frames that are not sent | the frame that is being written | room |
//! 0     sent                 committed                           len   capacity
//! ```
//!
//! A framing and a format write a frame in place, after the complete ones. If that fails or panics, the bytes after
//! `committed` are removed, so that a peer never receives a part of a frame. Frames are sent together, and the buffer is
//! empty again when all of them are sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::pool::{self, is_poolable};
use crate::{
    format::{EncodeError, Outcome, Writer},
    framing::{FrameError, Framing},
};

/// Flush once this many bytes are buffered.
const FLUSH_THRESHOLD: usize = 64 * 1024;

/// The send buffer of a connection. Its memory returns to the pool when the connection waits for a request.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    buffer: Vec<u8>,
    /// The number of bytes already sent.
    sent: usize,
    /// The end of the last complete frame. A panic during encoding leaves a partial message after
    /// it.
    committed: usize,
    /// Whether the connection closes after the message that is being encoded. It is here, because a panic
    /// during encoding drops the [`Writer`].
    closes: bool,
}

/// The result of encoding a message, unless it is an ordinary one, which is in the buffer and leaves the connection
/// open.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) outcome: EncodeOutcome,
    /// Whether the connection closes.
    pub(crate) closes: bool,
}

/// What a message was encoded to.
#[derive(Debug)]
pub(crate) enum EncodeOutcome {
    /// A message, which is in the buffer.
    Written,
    /// Nothing: there is no message.
    Nothing,
    /// The error of a function, with this text.
    Error(String),
    /// The format cannot encode the message.
    Unencodable(EncodeError),
    /// The framing cannot carry the message.
    Unsendable(FrameError),
}

impl WriteBuffer {
    /// Returns the number of bytes sent since the buffer was last empty.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Returns the number of bytes that are not sent yet.
    pub(crate) fn unsent_len(&self) -> usize {
        self.committed - self.sent
    }

    /// Returns `true` if the buffer should be flushed now. Bytes already sent count as well.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.committed >= FLUSH_THRESHOLD
    }

    /// Returns `true` if there is nothing to send, and nothing that the stream must still flush.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.committed == 0
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes a buffer from the pool if there is none, and removes a partial message that a panic
    /// left.
    ///
    /// Call this before writing messages, once per batch.
    #[inline]
    pub(crate) fn prepare(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool::get();
        }
        self.buffer.truncate(self.committed);
        self.closes = false;
    }

    /// Returns `true` if the connection closes after the message whose encoding panicked.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// Frames the message that `encode` writes. On `Ok`, the whole frame is in the buffer, and the connection
    /// goes on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it saves a fifth of a small request")]
    pub(crate) fn message<F: Framing>(
        &mut self,
        framing: &mut F,
        limit: usize,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), Encoded> {
        framing.begin(&mut self.buffer);
        let mut writer = Writer::new(&mut self.buffer, limit);
        writer.set_closes(&mut self.closes);
        if let Some(encoder) = framing.encoder() {
            writer.set_encoder(encoder);
        }
        let encoded = encode(&mut writer);
        let outcome = if encoded.is_err() || !writer.is_message() {
            let encoded = encoded.map(|()| writer.into_outcome());
            self.finish_outcome(framing, encoded, limit)
        } else {
            let Err(error) = self.finish(framing) else {
                return Ok(());
            };
            EncodeOutcome::Unsendable(error)
        };
        Err(self.remove_partial(outcome))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as `message`")]
    fn finish<F: Framing>(&mut self, framing: &mut F) -> Result<(), FrameError> {
        framing.finish(&mut self.buffer, self.committed)?;
        self.committed = self.buffer.len();
        Ok(())
    }

    /// Finishes a message that closes the connection. There is no frame for any other outcome.
    #[cold]
    fn finish_outcome<F: Framing>(
        &mut self,
        framing: &mut F,
        encoded: Result<Outcome, EncodeError>,
        limit: usize,
    ) -> EncodeOutcome {
        match encoded {
            Ok(Outcome::Message) => self
                .finish(framing)
                .map_or_else(EncodeOutcome::Unsendable, |()| EncodeOutcome::Written),
            Ok(Outcome::Nothing) => EncodeOutcome::Nothing,
            Ok(Outcome::Error(place)) => {
                let text = self.buffer.get(place).unwrap_or_default();
                let mut owned = String::new();
                if owned.try_reserve_exact(text.len()).is_ok() {
                    owned.push_str(&String::from_utf8_lossy(text));
                }
                EncodeOutcome::Error(owned)
            }
            // The writer does not tell them apart, because each message would pay for that.
            Ok(Outcome::TooLarge(length)) if length <= limit => {
                EncodeOutcome::Unsendable(FrameError::out_of_memory(length))
            }
            Ok(Outcome::TooLarge(length)) => {
                EncodeOutcome::Unsendable(FrameError::too_large(length, limit))
            }
            Err(error) => EncodeOutcome::Unencodable(error),
        }
    }

    /// Removes what is not a complete frame.
    #[cold]
    fn remove_partial(&mut self, outcome: EncodeOutcome) -> Encoded {
        self.buffer.truncate(self.committed);
        let closes = std::mem::take(&mut self.closes);
        Encoded { outcome, closes }
    }

    /// Appends complete frames, such as a rejection. Returns `false` if `write` does: then there are none.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        self.prepare();
        let is_written = write(&mut self.buffer);
        if is_written {
            self.committed = self.buffer.len();
        }
        self.buffer.truncate(self.committed);
        is_written
    }

    /// Sends the buffered frames.
    ///
    /// Keeps what was transferred: bytes that were sent are not sent again.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        while self.sent < self.committed {
            let unsent = self
                .buffer
                .get(self.sent..self.committed)
                .unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write(cx, unsent))? {
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

    /// Removes the bytes that were sent, if they are many.
    ///
    /// A flush empties the buffer only when everything is sent. If frames are added before that again and
    /// again, the buffer would grow without end.
    pub(crate) fn remove_sent(&mut self) {
        if self.sent > FLUSH_THRESHOLD {
            // One byte stays: it tells `poll_flush` that the stream must be flushed.
            let removed = self.sent - 1;
            self.buffer.drain(..removed);
            self.sent = 1;
            self.committed -= removed;
        }
    }

    /// Replaces an empty buffer that has grown too large for the pool.
    ///
    /// The function that the connection waits for may take long, and its reply needs a buffer.
    pub(crate) fn shrink(&mut self) {
        if self.committed == 0 && !is_poolable(self.buffer.capacity()) {
            self.buffer = pool::get();
        }
    }

    /// Drops the buffered frames.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        self.committed = 0;
        self.buffer.clear();
    }

    /// Returns the memory to the pool if no frames wait in it.
    pub(crate) fn release(&mut self) {
        if self.committed == 0 && self.buffer.capacity() > 0 {
            pool::put(&mut self.buffer);
        }
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.clear();
        self.release();
    }
}
