//! A stream and its framing: frames that are read, and messages that are written.

use std::{
    collections::HashMap,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tcs::{
    Rejection,
    framing::{Announcement, Exchanges, FrameError, Input, Notice, ReadState, Side},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::{
    failure::{Exit, Failure},
    framing::{AnyFraming, Found, FrameKind, FramingSpec},
};

/// A frame that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// The message, or the text of the control frame.
    pub(crate) payload: Vec<u8>,
    /// The id of its request, or 0.
    pub(crate) id: u32,
}

impl From<Found<'_>> for Frame {
    fn from(found: Found<'_>) -> Self {
        Self {
            kind: found.kind,
            payload: found.payload.to_vec(),
            id: found.id,
        }
    }
}

/// Why no frame follows.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The bytes are not of the framing.
    Framing {
        error: FrameError,
        /// The first bytes that are not.
        bytes: Vec<u8>,
        /// The end that has read them.
        side: Side,
    },
    Io(io::Error),
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    framing: AnyFraming,
    limit: usize,
    /// Received bytes; the first `taken` belong to frames already returned.
    buffer: Vec<u8>,
    /// These bytes are removed before the next read, and not with each frame.
    taken: usize,
    /// What waits to be sent. [`next`](Self::next) sends it, too, because the other end may read no more until its own
    /// messages are read.
    unsent: Vec<u8>,
    /// Whether nothing waits, here or in the stream.
    is_sent: bool,
    /// Whether the sending half is closed after that.
    must_close: bool,
    /// How many bytes were sent.
    sent: u64,
    /// Why nothing can be sent. What the other end has said before is read first.
    write_error: Option<io::Error>,
    /// What is left of a message beyond the limit.
    to_skip: usize,
    read_state: ReadState,
    /// Whether the only frame of a connection with one exchange was read.
    is_over: bool,
    exchanges: Exchanges,
}

/// The least room for a read.
const READ_SIZE: usize = 64 << 10;
/// How much may wait to be sent before the next request is taken.
const MAX_UNSENT: usize = 1 << 20;

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, framing: &FramingSpec, side: Side, limit: usize) -> Self {
        Self {
            stream,
            framing: framing.open(side),
            limit,
            buffer: Vec::new(),
            taken: 0,
            unsent: Vec::new(),
            is_sent: true,
            must_close: false,
            sent: 0,
            write_error: None,
            to_skip: 0,
            read_state: ReadState::Idle,
            is_over: false,
            exchanges: framing.exchanges(),
        }
    }

    /// Waits for a frame, and returns `None` once the peer has closed its half.
    ///
    /// Safe to cancel: nothing that has arrived is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame.into()));
            }
            if self.read_state == ReadState::Eof {
                return Ok(None);
            }
            self.advance().await.map_err(WireError::Io)?;
        }
    }

    /// Returns the frame that has already arrived, if there is one.
    pub(crate) fn take_frame(&mut self) -> Result<Option<Found<'_>>, WireError> {
        let skipped = self.to_skip.min(self.buffer.len() - self.taken);
        self.taken += skipped;
        self.to_skip -= skipped;
        if self.is_over {
            // The first bytes show that more has come. The rest need not be kept.
            self.buffer.truncate(self.taken + READ_SIZE);
        }
        if self.to_skip > 0 || self.is_over {
            return Ok(None);
        }
        // With no bytes, only the framings whose messages the end of the input ends have a frame.
        let bytes = self.buffer.get(self.taken..).unwrap_or_default();
        let has_one = self.exchanges != Exchanges::Many;
        if bytes.is_empty() && !(has_one && self.read_state == ReadState::Eof) {
            return Ok(None);
        }
        let side = self.framing.side();
        let found = self
            .framing
            .parse(Input::new(bytes, self.limit, side, self.read_state));
        let found = found.map_err(|error| WireError::Framing {
            error,
            bytes: bytes.to_vec(),
            side,
        })?;
        if let Some(found) = &found {
            self.is_over = has_one;
            self.to_skip = found.consumed.saturating_sub(bytes.len());
            self.taken += found.consumed.min(bytes.len());
        }
        Ok(found)
    }

    /// Goes on after a greeting, which is not a part of the one exchange.
    pub(crate) fn go_on(&mut self) {
        self.is_over = false;
    }

    /// Sends what waits, and reads meanwhile. Returns how many bytes were read, or `None` once all is sent.
    ///
    /// Safe to cancel. After the end of the input, it only sends.
    pub(crate) async fn advance(&mut self) -> io::Result<Option<usize>> {
        poll_fn(|cx| {
            if !self.is_sent && self.poll_flush(cx).is_ready() {
                return Poll::Ready(Ok(None));
            }
            if self.read_state == ReadState::Eof {
                return Poll::Pending;
            }
            self.poll_read(cx).map_ok(Some)
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.unread().reserve(READ_SIZE);
        let read = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        let count = ready!(read).map_err(|error| self.write_error.take().unwrap_or(error))?;
        self.read_state = match count {
            0 => ReadState::Eof,
            _ if self.buffer.len() == self.buffer.capacity() => ReadState::MaybeMore,
            _ => ReadState::Idle,
        };
        Poll::Ready(Ok(count))
    }

    /// Sends what waits. An error is kept.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.poll_send(cx)) {
            self.write_error = Some(error);
            self.unsent.clear();
        }
        self.is_sent = true;
        Poll::Ready(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while !self.unsent.is_empty() {
            let count = ready!(stream.as_mut().poll_write(cx, &self.unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..count);
            self.sent += count as u64;
        }
        if self.must_close {
            ready!(stream.poll_shutdown(cx))?;
            self.must_close = false;
            return Poll::Ready(Ok(()));
        }
        // TLS keeps what the socket did not take.
        stream.poll_flush(cx)
    }

    /// Returns how many bytes were sent since the last time.
    pub(crate) fn take_sent(&mut self) -> u64 {
        mem::take(&mut self.sent)
    }

    /// Returns `true` if frames have the ids of their requests.
    pub(crate) fn has_ids(&self) -> bool {
        self.framing.has_ids()
    }

    /// Returns `true` if nothing should be queued before what waits is sent.
    pub(crate) const fn is_full(&self) -> bool {
        self.unsent.len() >= MAX_UNSENT
    }

    /// Waits until what was queued is sent.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await;
        self.write_error.take().map_or(Ok(()), Err)
    }

    /// Waits until what was queued is sent, and then returns `None`, or for a frame before that: the other end may read
    /// no more until its own messages are read.
    pub(crate) async fn flush_or_next(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame.into()));
            }
            if self.is_sent {
                let error = self.write_error.take().map(WireError::Io);
                return error.map_or(Ok(None), Err);
            }
            self.advance().await.map_err(WireError::Io)?;
        }
    }

    /// Closes the sending half, once everything is sent.
    pub(crate) async fn close_half(&mut self) -> io::Result<()> {
        (self.must_close, self.is_sent) = (true, false);
        self.flush().await
    }

    /// Reads bytes outside of the framing.
    ///
    /// Returns `false` once the peer has closed its half.
    pub(crate) async fn read_more(&mut self) -> io::Result<bool> {
        loop {
            if self.read_state == ReadState::Eof {
                return Ok(false);
            }
            if let Some(count) = self.advance().await? {
                return Ok(count > 0);
            }
        }
    }

    /// Returns the bytes after the last frame. Those that you remove are not read as a frame.
    pub(crate) fn unread(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..mem::take(&mut self.taken));
        &mut self.buffer
    }

    /// Queues a message, with the id `id` if the framing has ids. If the end of the input ends requests, a client closes
    /// its half after it.
    pub(crate) fn queue(&mut self, message: &[u8], id: u32) -> Result<(), Failure> {
        self.is_sent = false;
        let is_client = self.framing.side() == Side::Client;
        self.must_close |= is_client && self.exchanges == Exchanges::OneUntilHalfClose;
        let written = self.framing.write(message, id, &mut self.unsent);
        written.map_err(|error| not_carried(&error))
    }

    /// Queues a rejection of the request with the id `id`. Returns `false` if the framing has none.
    pub(crate) fn queue_rejection(&mut self, rejection: &Rejection, id: u32) -> bool {
        self.is_sent = false;
        self.framing.reject(rejection, id, &mut self.unsent)
    }

    /// Queues a notice about the request with the id `id`, if the framing has notices.
    pub(crate) fn queue_notice(&mut self, notice: Notice, id: u32) {
        self.is_sent = false;
        self.framing.notice(notice, id, &mut self.unsent);
    }

    /// Queues bytes as they are.
    pub(crate) fn queue_bytes(&mut self, bytes: &[u8]) {
        self.is_sent = false;
        self.unsent.extend_from_slice(bytes);
    }
}

/// The parts of replies that have arrived, by the id of the request.
#[derive(Debug, Default)]
pub(crate) struct Parts(HashMap<u32, Vec<u8>>);

impl Parts {
    /// Adds a part, or a message, which is the last one: then the whole message is returned.
    pub(crate) fn add(&mut self, frame: &Frame, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        let parts = self.0.entry(frame.id).or_default();
        let length = parts.len() + frame.payload.len();
        if length > limit {
            return Err(too_long(length));
        }
        parts.extend_from_slice(&frame.payload);
        if frame.kind == FrameKind::Announced(Announcement::Parts) {
            return Ok(None);
        }
        Ok(self.0.remove(&frame.id))
    }

    /// Removes the parts of a reply that does not follow any more.
    pub(crate) fn forget(&mut self, id: u32) {
        self.0.remove(&id);
    }
}

pub(crate) fn too_long(length: usize) -> Failure {
    let message = format!("a reply of {length} bytes exceeds the limit");
    Failure::new(Exit::Protocol, message).hint("raise --max-len")
}

pub(crate) fn not_carried(error: &FrameError) -> Failure {
    let message = format!("the framing cannot carry the message: {error}");
    Failure::usage(message).hint("choose another --framing, or change the message")
}

pub(crate) fn disconnected(error: &io::Error) -> Failure {
    let failure = Failure::new(
        Exit::Closed,
        format_args!("the connection has ended: {error}"),
    );
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            failure.hint("the other end has closed it: its log may say why")
        }
        _ => failure,
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(error) => disconnected(&error),
            WireError::Framing { error, bytes, side } => {
                // The name of the setting is one of the library, not of an option.
                let error = error.to_string().replace("`max_frame_len`", "the limit");
                let message = format!("what arrived is not of the framing: {error}");
                let guess = match side {
                    Side::Server => Some(
                        "use the --framing of the client, or see what it sends with --framing verbatim",
                    ),
                    Side::Client => speaks(&bytes),
                };
                let hint =
                    "choose another --framing, or see what arrives with --framing verbatim --hex";
                Self::new(Exit::Protocol, message).hint(guess.unwrap_or(hint))
            }
        }
    }
}

/// Returns what to do about the first bytes of a server that speaks a well-known protocol.
pub(crate) fn speaks(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x15 | 0x16, 0x03, 0..=4, ..] => Some("the server speaks TLS at this port: add --tls"),
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            Some("the server speaks HTTP at this port: use curl, or check the port")
        }
        [b'S', b'S', b'H', b'-', ..] => Some("the server speaks SSH at this port: check the port"),
        [first, ..] if (first.is_ascii_graphic() || *first == b' ') && bytes.contains(&b'\n') => {
            Some("the server sent text: try --framing crlf-text")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex, repeat};

    use super::*;

    #[tokio::test]
    async fn what_follows_the_one_exchange_is_not_kept() {
        let (near, mut far) = duplex(READ_SIZE);
        let framing = "duplex(lines,until-eof)".parse().expect("a framing");
        let mut wire = Wire::new(near, &framing, Side::Server, 1 << 10);
        let send = async {
            far.write_all(b"Ann\n").await.expect("it reads");
            let mut more = repeat(b'x').take(1 << 22);
            tokio::io::copy(&mut more, &mut far)
                .await
                .expect("it reads");
            drop(far);
        };
        let receive = async {
            let frame = wire.next().await.expect("a frame");
            assert_eq!(frame.expect("it comes").payload, b"Ann");
            assert_eq!(wire.next().await.expect("an end"), None);
            let kept = wire.unread().len();
            assert!((1..=2 * READ_SIZE).contains(&kept), "{kept}");
        };
        tokio::join!(send, receive);
    }
}
