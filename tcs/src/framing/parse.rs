//! The input of a framing, and the frames that it returns.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::{Announcement, FrameError};

/// How many bytes a framing may add to a message.
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

    /// Returns the first `n` bytes, of a header or of a whole frame, or `None` if they have not all arrived.
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
        // Checked first: a length that is too large is an error at once, not after the peer has sent all of it.
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
    /// A line ends with `\n` or `\r\n`, which is not a part of the message. `searched` is the number of bytes at the
    /// start that are known to have no line feed: keep it in the framing, so that no byte is searched twice. The
    /// initial value is 0, and so is the value after a line.
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
        // The search continues where the last one ended. Otherwise, the cost of a line that arrives byte by byte would
        // grow with the square of its length.
        let unread = self.bytes.get(*searched..).unwrap_or_default();
        let line_feed = memchr(b'\n', unread).map(|at| *searched + at);
        let end = line_feed.unwrap_or(self.bytes.len());
        let line = self.bytes.get(..end).unwrap_or(self.bytes);
        // A `\r` at the end of an incomplete line does not count either. Otherwise, a line of exactly the limit would
        // fail if it is cut before its `\n`.
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
    /// `searched` is the number of bytes at the start in which `delimiter` does not begin, as in [`line`](Self::line).
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

/// A frame that a framing has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedFrame {
    pub(crate) kind: FrameKind,
    pub(crate) payload: Range<usize>,
    pub(crate) consumed: usize,
    pub(crate) id: u32,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// A request or a reply.
    Message,
    /// A control frame of this kind.
    Control(u8),
    /// A message that a notice has announced, which is neither a request nor the reply to one.
    ///
    /// A [`Framing`](super::Framing) returns the notice as a control frame, and the messages after it as
    /// [`Message`](Self::Message). The library then gives them this kind.
    Announced(Announcement),
    /// A message beyond the limit, which is skipped. Its length is that of
    /// [`payload`](ParsedFrame::payload).
    // The length is not in this variant, because `LengthPrefixed` would then need 30 more instructions for
    // each message.
    Oversized,
    /// Bytes that are no part of a message.
    Skip,
}

impl ParsedFrame {
    const fn new(kind: FrameKind, payload: Range<usize>, consumed: usize) -> Self {
        Self {
            kind,
            payload,
            consumed,
            id: 0,
        }
    }

    /// Sets the id of the request that the frame belongs to, for framings with [ids](super::Framing#ids). Without this
    /// call, it is 0, for frames that belong to no request.
    #[must_use]
    pub const fn with_id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Creates a message whose bytes are at `payload`. The whole frame has `consumed` bytes.
    pub const fn message(payload: Range<usize>, consumed: usize) -> Self {
        Self::new(FrameKind::Message, payload, consumed)
    }

    /// Creates a control frame of a kind, with its text at `text`. `WIRE.md` has the codes of the
    /// kinds.
    pub const fn control(kind: u8, text: Range<usize>, consumed: usize) -> Self {
        Self::new(FrameKind::Control(kind), text, consumed)
    }

    /// Creates a message of `length` bytes, beyond the limit.
    ///
    /// The message is rejected as *too large*, and `consumed` bytes are skipped, which need not have arrived yet. The
    /// connection continues, unlike after [`FrameError::too_large`].
    pub const fn oversized(length: usize, consumed: usize) -> Self {
        Self::new(FrameKind::Oversized, 0..length, consumed)
    }

    /// Creates a frame for `consumed` bytes that are skipped, and are no part of a message.
    pub const fn skip(consumed: usize) -> Self {
        Self::new(FrameKind::Skip, 0..0, consumed)
    }

    /// Returns `None`, the result of [`Framing::parse`](super::Framing::parse) for an incomplete frame.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::truncated`] if the peer has closed its half in the middle of a frame.
    #[inline]
    pub fn incomplete(input: Input<'_>) -> Result<Option<Self>, FrameError> {
        match (input.read_state(), input.bytes().len()) {
            (ReadState::Eof, 1..) => Err(FrameError::truncated()),
            _ => Ok(None),
        }
    }

    /// Returns the message of `length` bytes that begins at `start` and ends its frame, or `None` if it is not complete.
    ///
    /// A message beyond the limit is [skipped](Self::oversized) if it is at most four times as long. No `length` that a
    /// peer sends overflows, or makes this wait for a message beyond the limit.
    ///
    /// # Errors
    ///
    /// Returns [`FrameError::too_large`] if the message is longer than that. If the peer has closed its half before the
    /// end of the message, returns [`FrameError::too_large`] for a message beyond the limit, and
    /// [`FrameError::truncated`] for any other.
    ///
    /// # Examples
    ///
    /// A type of one byte, which is part of the message, a length of two bytes, and the bytes that it counts:
    ///
    /// ```
    /// use tcs::framing::{FrameError, Framing, Input, ParsedFrame};
    ///
    /// #[derive(Debug, Default)]
    /// struct Typed;
    ///
    /// impl Framing for Typed {
    ///     fn parse(&mut self, input: Input<'_>) -> Result<Option<ParsedFrame>, FrameError> {
    ///         let Some(&[_, high, low]) = input.need(3)? else {
    ///             return Ok(None);
    ///         };
    ///         let length = u16::from_be_bytes([high, low]);
    ///         ParsedFrame::counted(input, 0, 3 + usize::from(length))
    ///     }
    /// }
    /// # use tcs::framing::{ReadState, Side};
    /// # let input = |bytes| Input::new(bytes, 9, Side::Server, ReadState::Idle);
    /// # assert_eq!(Typed.parse(input(b"T\0\x01")), Ok(None));
    /// # assert_eq!(Typed.parse(input(b"T\0\x01x")), Ok(Some(ParsedFrame::message(0..4, 4))));
    /// # assert_eq!(Typed.parse(input(b"T\0\x07")), Ok(Some(ParsedFrame::oversized(10, 10))));
    /// # assert!(Typed.parse(input(b"T\x01\0")).is_err());
    /// ```
    #[inline]
    pub fn counted(
        input: Input<'_>,
        start: usize,
        length: usize,
    ) -> Result<Option<Self>, FrameError> {
        // The length is the peer's choice, and may be the largest number.
        let end = start.saturating_add(length);
        // Checked before completeness: the header alone must show that a message is too large.
        if length > input.limit() {
            return skip_or_reject(length, input.limit(), end, input.ends_before(end));
        }
        if input.bytes().len() < end {
            return Self::incomplete(input);
        }
        Ok(Some(Self::message(start..end, end)))
    }

    /// Returns all bytes as one message, if it is complete.
    pub(super) fn whole_input(
        input: Input<'_>,
        is_complete: bool,
    ) -> Result<Option<Self>, FrameError> {
        let length = input.bytes().len();
        if length > input.limit() {
            return Err(FrameError::too_large(length, input.limit()));
        }
        Ok(is_complete.then(|| Self::message(0..length, length)))
    }

    /// Returns the kind of the frame.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns the place of the message, or of the text of a control frame, without prefix and
    /// delimiter. Of a message beyond the limit, only the length counts.
    pub const fn payload(&self) -> Range<usize> {
        self.payload.start..self.payload.end
    }

    /// Returns the length of a message beyond the limit, which has no place in the input.
    #[inline]
    pub(crate) fn oversized_len(&self) -> usize {
        self.payload.len()
    }

    /// Returns the id of the request that the frame belongs to, or 0.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Returns the length of the whole frame in bytes.
    pub const fn consumed(&self) -> usize {
        self.consumed
    }
}

/// A message of up to this many times the limit is skipped. A larger one ends the connection.
pub(super) const SKIP_FACTOR: usize = 4;

/// Returns a skipped message of `length` bytes, beyond the limit, in a frame of `consumed` bytes.
///
/// # Errors
///
/// Returns an error if the message is too large to be skipped, or if its frame is truncated.
#[cold]
pub(super) fn skip_or_reject(
    length: usize,
    limit: usize,
    consumed: usize,
    is_truncated: bool,
) -> Result<Option<ParsedFrame>, FrameError> {
    if length > limit.saturating_mul(SKIP_FACTOR) || is_truncated {
        return Err(FrameError::too_large(length, limit));
    }
    Ok(Some(ParsedFrame::oversized(length, consumed)))
}

/// Skips a byte of the terminator after a skipped message. The terminator is a frame of its own, because it has not
/// arrived yet if the message is long.
///
/// At the end of the input, a missing byte is no error: the message was rejected before, and the peer would take a
/// second rejection for that of the next request.
pub(super) fn skip_terminator(
    terminator: &mut &'static [u8],
    input: Input<'_>,
    expected: &str,
) -> Result<Option<ParsedFrame>, FrameError> {
    match (*terminator, input.bytes()) {
        ([byte, rest @ ..], [found, ..]) if byte == found => {
            *terminator = rest;
            Ok(Some(ParsedFrame::skip(1)))
        }
        (_, [found, ..]) => Err(FrameError::unexpected(*found, expected)),
        (_, []) => Ok(None),
    }
}
