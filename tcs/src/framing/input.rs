//! What a framing parses.

use memchr::{memchr, memmem};

use super::{FrameError, ParsedFrame};

/// Allowance for what a framing adds to a message.
pub(super) const OVERHEAD: usize = 1024;

/// The end of a connection at which a framing reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Side {
    /// The server reads requests.
    Server,
    /// The client reads replies.
    Client,
}

/// The state of the input after the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "framings match on all of it")]
pub enum ReadState {
    /// The last read filled its buffer, so there may be more already.
    MaybeMore,
    /// Nothing more has arrived yet.
    Idle,
    /// Nothing more will arrive: the peer has closed its sending half.
    Eof,
}

/// The bytes that have arrived and are not part of a parsed frame yet.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    limit: usize,
    side: Side,
    read_state: ReadState,
}

impl<'a> Input<'a> {
    /// Creates an input of `bytes` that arrived at `side`, with a limit of `limit` bytes for a
    /// message.
    pub const fn new(bytes: &'a [u8], limit: usize, side: Side, read_state: ReadState) -> Self {
        Self {
            bytes,
            limit,
            side,
            read_state,
        }
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the maximum length of a message in bytes: `max_frame_len`.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the end that reads.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns the state of the input after these bytes.
    pub const fn read_state(&self) -> ReadState {
        self.read_state
    }

    /// Returns the first `n` bytes, or `None` if they have not all arrived: of a header, or of a whole frame.
    ///
    /// For a message whose length precedes it, [`ParsedFrame::counted`] checks the limit to the byte, and skips a
    /// message beyond it.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::too_large`] at once if `n` is more than the limit and 1,024 bytes for what a frame has beside
    /// its message, so that nothing waits for bytes that a peer only claims, and [`FrameError::truncated`] if the peer has
    /// closed its half before the last of them.
    pub fn need(&self, n: usize) -> Result<Option<&'a [u8]>, FrameError> {
        if n > self.limit.saturating_add(OVERHEAD) {
            return Err(FrameError::too_large(n, self.limit));
        }
        match self.bytes.get(..n) {
            None => ParsedFrame::incomplete(*self).map(|_| None),
            found => Ok(found),
        }
    }

    /// Returns `true` if the peer has closed its half, and has sent fewer than `length` bytes.
    pub(super) const fn ends_before(&self, length: usize) -> bool {
        matches!(self.read_state, ReadState::Eof) && self.bytes.len() < length
    }

    /// Returns the line at the start of these bytes as a message, or `None` if its end has not arrived.
    ///
    /// It ends with `\n` or `\r\n`, which is not a part of the message. `searched` is the number of bytes at the start that
    /// are known to have no line feed: keep it in the framing, so that no byte is searched twice. It begins with 0, and is 0
    /// again after a line.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is longer than the [limit](Self::limit), or ends before its line end.
    ///
    /// # Examples
    ///
    /// ```
    /// use tcs::framing::{FrameError, Framing, Input, ParsedFrame};
    ///
    /// #[derive(Debug, Default)]
    /// struct MyLines {
    ///     searched: usize,
    /// }
    ///
    /// impl Framing for MyLines {
    ///     fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
    ///         input.line(&mut self.searched)
    ///     }
    ///
    ///     fn finish(&mut self, out: &mut Vec<u8>, _start: usize) -> Result<(), FrameError> {
    ///         out.push(b'\n');
    ///         Ok(())
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn line(&self, searched: &mut usize) -> Result<Option<ParsedFrame>, FrameError> {
        let unread = self.bytes.get(*searched..).unwrap_or_default();
        let line_feed = memchr(b'\n', unread).map(|at| *searched + at);
        let end = line_feed.unwrap_or(self.bytes.len());
        let line = self.bytes.get(..end).unwrap_or(self.bytes);
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if text.len() > self.limit {
            return Err(FrameError::too_large(text.len(), self.limit));
        }
        if line_feed.is_none() {
            *searched = self.bytes.len();
            return ParsedFrame::incomplete(*self);
        }
        *searched = 0;
        Ok(Some(ParsedFrame::message(0..text.len(), end + 1)))
    }

    /// Returns where `delimiter` begins, or `None` if it has not arrived.
    ///
    /// `searched` is the number of bytes at the start in which it does not begin, as in [`line`](Self::line).
    ///
    /// # Errors
    ///
    /// Returns an error if more bytes precede it than the [limit](Self::limit), or if the input ends before it.
    #[inline]
    pub fn find(
        &self,
        delimiter: &[u8],
        searched: &mut usize,
    ) -> Result<Option<usize>, FrameError> {
        let unread = self.bytes.get(*searched..).unwrap_or_default();
        let found = memmem::find(unread, delimiter).map(|at| *searched + at);
        // The last bytes may be a part of the delimiter.
        let open = (self.bytes.len() + 1).saturating_sub(delimiter.len());
        let length = found.unwrap_or(open);
        if length > self.limit {
            return Err(FrameError::too_large(length, self.limit));
        }
        *searched = if found.is_some() { 0 } else { open };
        match found {
            None => ParsedFrame::incomplete(*self).map(|_| None),
            found => Ok(found),
        }
    }
}
