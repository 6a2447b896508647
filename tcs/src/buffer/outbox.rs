//! What was said and not sent yet.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use super::pool;
use crate::{
    EncodeError, FrameError, Framing, Refusal, Told, Writer, format::Outcome, framing::too_large,
};

/// The send buffer of a connection: whole frames, of which the first bytes may have been sent.
///
/// It is given back as soon as everything in it was sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    /// How many bytes were sent.
    sent: usize,
    /// Where the last complete frame ends: a panic while a message is written leaves a part.
    whole: usize,
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is in the buffer.
    Message,
    /// It is in the buffer, and the connection closes behind it.
    Last,
    /// There is none.
    Nothing,
    /// There is an error instead of it; nothing is in the buffer.
    Error(String),
    /// There is an error instead of it, and the connection closes behind that.
    LastError(String),
}

/// Why a message is not in the buffer.
#[derive(Debug)]
pub(crate) enum Unwritable {
    Encode(EncodeError),
    Frame(FrameError),
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            sent: 0,
            whole: 0,
        }
    }

    /// Returns how many bytes wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.whole - self.sent
    }

    /// Frames the message that `encode` writes.
    #[inline]
    pub(crate) fn message<F: Framing>(
        &mut self,
        framing: &mut F,
        limit: usize,
        encode: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Written, Unwritable> {
        self.recover();
        let start = self.whole;
        framing.begin(&mut self.buffer);
        let mut writer = Writer::new(&mut self.buffer, limit);
        let encoded = encode(&mut writer);
        let outcome = writer.into_outcome();
        let written = match (encoded, outcome) {
            (Err(error), _) => Err(Unwritable::Encode(error)),
            (Ok(()), Outcome::Message) => Ok(Written::Message),
            (Ok(()), Outcome::Last) => Ok(Written::Last),
            (Ok(()), Outcome::Nothing) => Ok(Written::Nothing),
            (Ok(()), Outcome::Error(text)) => Ok(Written::Error(text)),
            (Ok(()), Outcome::LastError(text)) => Ok(Written::LastError(text)),
            (Ok(()), Outcome::TooLarge(length)) => Err(Unwritable::Frame(FrameError::unsendable(
                too_large(length, limit),
            ))),
        };
        let framed = match written {
            Ok(Written::Message | Written::Last) => framing
                .finish(&mut self.buffer, start)
                .map_err(Unwritable::Frame)
                .and(written),
            other => {
                self.buffer.truncate(start);
                return other;
            }
        };
        match framed {
            Ok(_) => self.whole = self.buffer.len(),
            Err(_) => self.buffer.truncate(start),
        }
        framed
    }

    /// Says a refusal, if the framing can.
    pub(crate) fn refuse<F: Framing>(&mut self, framing: &mut F, refusal: &Refusal) -> Told {
        self.say(|out| framing.refuse(out, refusal))
    }

    /// Says the last words about bytes that made no sense, if the framing can.
    pub(crate) fn reject<F: Framing>(&mut self, framing: &mut F, error: &FrameError) -> Told {
        self.say(|out| framing.reject(out, error))
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Told) -> Told {
        self.recover();
        let told = write(&mut self.buffer);
        self.whole = self.buffer.len();
        told
    }

    /// Removes what a panic left of a message, and takes a buffer if there is none.
    #[inline]
    fn recover(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = pool::take();
        }
        self.buffer.truncate(self.whole);
    }

    /// Sends what waits.
    ///
    /// Cancel safe: what was sent is not sent again.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.whole {
            let waiting = self.buffer.get(self.sent..self.whole).unwrap_or_default();
            match ready!(Pin::new(&mut *stream).poll_write(cx, waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        if self.sent > 0 {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        self.whole = 0;
        if self.buffer.capacity() > 0 {
            pool::give(&mut self.buffer);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}
