//! The writer to which a message is encoded.

use std::{any::Any, fmt, fmt::Write as _, io, ops::Range};

use super::{Encode, EncodeError};
use crate::{Rejection, text::DISPLAY_FAILED};

/// Appends one message to a send buffer.
///
/// Writing never fails: a message that grows beyond its limit (a server's `max_reply_len`, or a client's
/// `max_frame_len`) is dropped in the end. You can ignore the result of [`write!`], unless a `Display` that you write
/// can fail: then return an [`EncodeError`](crate::format::EncodeError), because its first part stays in the message.
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    /// The maximum length of the message.
    limit: usize,
    /// The number of bytes that may still be put. The number becomes 0 if a part of the message is missing, so that
    /// nothing follows that part.
    room: usize,
    state: WriterState,
    /// What the connection does afterwards. The value is in the send buffer, which outlives a panic.
    after: Option<&'a mut After>,
    encoder: Option<&'a mut (dyn Any + Send + 'static)>,
}

/// What has been written so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriterState {
    /// A message: the bytes that are put.
    Message,
    /// A message of at least this many bytes, which is beyond the limit, or for which there is no memory.
    TooLarge(usize),
    /// No message.
    Nothing,
    /// The error of the function, and the place of its text in the buffer. The text is not a
    /// `String`, because without a destructor, the writer stays in registers.
    Error(Range<usize>),
}

/// What the connection does after a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum After {
    #[default]
    Continue,
    Close,
    StartTls,
}

impl<'a> Writer<'a> {
    /// Creates a writer that appends one message of at most `limit` bytes to `buffer`.
    #[inline]
    pub const fn new(buffer: &'a mut Vec<u8>, limit: usize) -> Self {
        Self {
            buffer,
            limit,
            room: limit,
            state: WriterState::Message,
            after: None,
            encoder: None,
        }
    }

    /// Lends the place that [`close_after`](Self::close_after) and [`start_tls_after`](Self::start_tls_after) set.
    #[inline]
    pub(crate) fn lend_after(&mut self, after: &'a mut After) {
        self.after = Some(after);
    }

    /// Adds the encoder of the framing.
    #[inline]
    pub(crate) fn set_encoder(&mut self, encoder: &'a mut (dyn Any + Send + 'static)) {
        self.encoder = Some(encoder);
    }

    /// Returns the [encoder](crate::framing::Framing::encoder) of the framing, if its type is `T`.
    pub fn encoder<T: Any>(&mut self) -> Option<&mut T> {
        self.encoder.as_mut()?.downcast_mut()
    }

    /// Appends bytes to the message.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(buffer) = self.room_for(bytes.len()) {
            buffer.extend_from_slice(bytes);
        }
    }

    /// Returns how many more bytes the message may have.
    #[cfg(feature = "postcard")]
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Returns the buffer with room for `length` bytes, which the caller must append. They count from now on. Returns
    /// `None` if the message is beyond the limit or there is no memory for it.
    #[inline]
    pub(super) fn room_for(&mut self, length: usize) -> Option<&mut Vec<u8>> {
        // The system may refuse the memory for a large message, which must not end the process.
        if length <= self.room && has_capacity(self.buffer, length) {
            self.room -= length;
            return Some(self.buffer);
        }
        self.refuse(length);
        None
    }

    /// Records that `length` more bytes do not fit. From here on, nothing is appended.
    #[cold]
    fn refuse(&mut self, length: usize) {
        // Later parts still count, so that the error can show the length of the message.
        let before = match self.state {
            WriterState::Message => self.limit - self.room,
            WriterState::TooLarge(before) => before,
            WriterState::Nothing | WriterState::Error(_) => return,
        };
        self.state = WriterState::TooLarge(before.saturating_add(length));
        self.room = 0;
    }

    /// Lets `write` append to the message. If it fails, removes what it appended.
    #[cfg(feature = "messagepack")]
    #[inline]
    pub(super) fn attempt<E>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (end, room, state) = (self.buffer.len(), self.room, self.state.clone());
        write(self).inspect_err(|_| {
            self.buffer.truncate(end);
            self.room = room;
            // The removed bytes may have been beyond the limit, and the bytes that replace them within it.
            self.state = state;
        })
    }

    /// Declares that the function has failed. The error replaces the message.
    ///
    /// A framing with control frames sends the error as such a frame, with at most 4,095 bytes of
    /// text. Other framings send the text as the reply, which fails if it is beyond
    /// `max_reply_len`. If `Display` fails, the text says so.
    pub fn fail(&mut self, error: impl fmt::Display) {
        let start = self.buffer.len();
        let room = self.limit.max(Rejection::MAX_TEXT).saturating_add(1);
        let mut text = BoundedText {
            buffer: self.buffer,
            room,
        };
        if write!(text, "{error}").is_err() {
            self.buffer.truncate(start);
            self.buffer.extend_from_slice(DISPLAY_FAILED.as_bytes());
        }
        self.state = WriterState::Error(start..self.buffer.len());
    }

    /// Writes the value, or declares that the function has failed.
    pub(super) fn put_result<Format, T: Encode<Format>, E: fmt::Display>(
        &mut self,
        result: Result<T, E>,
    ) -> Result<(), EncodeError> {
        match result {
            Ok(value) => value.encode(self),
            Err(error) => {
                self.fail(error);
                Ok(())
            }
        }
    }

    /// Declares that the connection closes after this message or error, or without one after
    /// [`send_nothing`](Self::send_nothing).
    pub fn close_after(&mut self) {
        self.set_after(After::Close);
    }

    /// Declares that the connection continues over TLS after this message, as after
    /// [`Response::StartTls`](crate::Response::StartTls).
    pub fn start_tls_after(&mut self) {
        self.set_after(After::StartTls);
    }

    /// Declares what the connection does after this message.
    pub(crate) fn set_after(&mut self, after: After) {
        if let Some(place) = &mut self.after {
            **place = after;
        }
    }

    /// Declares that there is no message. Nothing is sent.
    pub fn send_nothing(&mut self) {
        self.state = WriterState::Nothing;
    }

    /// Returns `true` if there is a message, and the connection continues after it.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.state, WriterState::Message)
            && matches!(self.after.as_deref(), None | Some(After::Continue))
    }

    /// Returns what has been written.
    pub(crate) fn into_state(self) -> WriterState {
        self.state
    }
}

/// Appends a text. If there is no room or memory for it, drops the rest, and has no room left.
///
/// One byte more than can be sent is stored, so that a text that is too long is not taken for one that fits.
pub(super) struct BoundedText<'a> {
    pub(super) buffer: &'a mut Vec<u8>,
    pub(super) room: usize,
}

impl fmt::Write for BoundedText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fitting = text
            .get(..text.ceil_char_boundary(self.room))
            .unwrap_or(text);
        if self.buffer.try_reserve(fitting.len()).is_ok() {
            self.buffer.extend_from_slice(fitting.as_bytes());
            self.room = self.room.saturating_sub(text.len());
        } else {
            // An error with a part of its text helps more than an error about memory.
            self.room = 0;
        }
        Ok(())
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("limit", &self.limit)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// For encoders that need an `io::Write`. Writing never fails.
impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    // The provided method would loop, because `write` may append a part in general.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns `true` if there is room for `length` more bytes, after growing if necessary.
#[inline]
fn has_capacity(buffer: &mut Vec<u8>, length: usize) -> bool {
    length <= buffer.capacity() - buffer.len() || can_grow(buffer, length)
}

/// Grows the buffer. This is out of line, because most parts of a message are small, and fit. After a large part, the
/// buffer also has room for the bytes of the framing, which would double it otherwise.
#[cold]
fn can_grow(buffer: &mut Vec<u8>, length: usize) -> bool {
    const LARGE: usize = 64 << 10;
    const ROOM_OF_FRAMING: usize = 64;
    let room = if length > LARGE { ROOM_OF_FRAMING } else { 0 };
    buffer.try_reserve(length.saturating_add(room)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_message_leaves_room_for_its_delimiter() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, usize::MAX);
        writer.put(&vec![b'x'; 100_000]);
        assert_eq!(writer.into_state(), WriterState::Message);
        buffer.extend_from_slice(b"\r\n");
        assert!(buffer.capacity() < 101_000, "{}", buffer.capacity());
    }

    #[test]
    fn message_beyond_the_limit_is_not_stored() {
        for (length, fits) in [(9, true), (10, true), (11, false)] {
            let mut buffer = b"before".to_vec();
            let mut writer = Writer::new(&mut buffer, 10);
            writer.put(&vec![b'x'; length]);
            let state = writer.into_state();
            let expected = if fits {
                WriterState::Message
            } else {
                WriterState::TooLarge(length)
            };
            assert_eq!(state, expected);
            assert_eq!(buffer.len(), 6 + if fits { length } else { 0 });
        }
    }

    #[test]
    fn connection_closes_whenever_the_last_message_is_declared() {
        type Step = fn(&mut Writer<'_>);
        let error: Step = |out| out.fail("no");
        for (step, expected) in [
            (error, WriterState::Error(0..2)),
            (|out| out.send_nothing(), WriterState::Nothing),
            (|out| out.put(b"a"), WriterState::Message),
        ] {
            let last: Step = |out| out.close_after();
            for steps in [[step, last], [last, step]] {
                let mut buffer = Vec::new();
                let mut after = After::Continue;
                let mut writer = Writer::new(&mut buffer, 10);
                writer.lend_after(&mut after);
                for step in steps {
                    step(&mut writer);
                }
                assert!(!writer.is_ordinary());
                assert_eq!(writer.into_state(), expected);
                assert_eq!(after, After::Close);
            }
        }
    }

    /// Writes a text in two parts, and may fail after that.
    struct Shown(String, fmt::Result);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no: ")?;
            f.write_str(&self.0)?;
            self.1
        }
    }

    /// Returns the text that is stored of an error.
    fn stored(limit: usize, text: &str, result: fmt::Result) -> String {
        let mut buffer = b"before".to_vec();
        let mut writer = Writer::new(&mut buffer, limit);
        writer.fail(Shown(text.to_owned(), result));
        assert_eq!(writer.into_state(), WriterState::Error(6..buffer.len()));
        String::from_utf8(buffer.split_off(6)).expect("it is a text")
    }

    #[test]
    fn error_that_cannot_be_shown_is_an_error() {
        let text = stored(10, "half", Err(fmt::Error));
        assert_eq!(text, "the `Display` of the error returned an error");
    }

    #[test]
    fn error_takes_no_more_memory_than_can_be_sent() {
        for (limit, length, expected) in [
            // A control frame has room for it, whatever the limit.
            (10, 4_095 - 4, 4_095),
            (10, 1 << 20, 4_096),
            (8_000, 8_000 - 4, 8_000),
            (8_000, 1 << 20, 8_001),
            (usize::MAX, 9_000 - 4, 9_000),
        ] {
            assert_eq!(stored(limit, &"x".repeat(length), Ok(())).len(), expected);
        }
        // A character is stored whole.
        assert!(stored(10, &"ä".repeat(5_000), Ok(())).ends_with('ä'));
    }

    #[test]
    fn message_once_too_large_stays_so() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, 2);
        writer.put(b"abc");
        writer.put(b"a");
        writer.close_after();
        assert_eq!(writer.into_state(), WriterState::TooLarge(4));
        assert!(buffer.is_empty());
    }

    #[test]
    fn error_after_a_message_that_is_too_large_is_whole() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, 8_000);
        writer.put(&[b'a'; 9_000]);
        writer.fail("x".repeat(8_000));
        writer.put(b"a");
        assert_eq!(writer.into_state(), WriterState::Error(0..8_000));
        assert_eq!(buffer, b"x".repeat(8_000));
    }

    #[test]
    fn nothing_follows_a_part_without_memory() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, usize::MAX);
        // No allocation is that large.
        assert!(writer.room_for(usize::MAX / 2 + 1).is_none());
        writer.put(b"a");
        assert!(!writer.is_ordinary());
        assert_eq!(
            writer.into_state(),
            WriterState::TooLarge(usize::MAX / 2 + 2)
        );
        assert!(buffer.is_empty());
    }
}
