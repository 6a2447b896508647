//! Where a message is written.

use std::{any::Any, fmt, io};

/// The end of the connection's send buffer, while one message is written to it.
///
/// A message that grows beyond `max_frame_len` is dropped, and the rest of it is not stored. Write
/// text with [`write!`]: the `fmt::Write` methods never fail.
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    /// How many more bytes the message may have, of how many.
    room: usize,
    limit: usize,
    /// How many bytes a message has that grew beyond its limit; 0 for any other.
    excessive: usize,
    kind: Kind,
    /// Whether the connection closes afterwards.
    closes: bool,
    /// Where an error's text begins in the buffer, and ends.
    text: (usize, usize),
    /// What makes bytes of messages that are values.
    encoder: Option<&'a mut (dyn Any + Send + 'static)>,
}

/// The kind of an [`Outcome`], without owned data: the writer then has no destructor and stays in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Nothing,
    Error,
}

/// What came of writing a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A message.
    Message,
    /// None.
    Nothing,
    /// The function's own error.
    Error(String),
    /// A message beyond the limit. It has at least this many bytes.
    TooLarge(usize),
}

impl<'a> Writer<'a> {
    /// Appends to `buffer` one message of at most `limit` bytes.
    #[inline]
    pub fn new(buffer: &'a mut Vec<u8>, limit: usize) -> Self {
        Self {
            buffer,
            room: limit,
            limit,
            excessive: 0,
            kind: Kind::Message,
            closes: false,
            text: (0, 0),
            encoder: None,
        }
    }

    /// Sets what makes bytes of values.
    #[inline]
    pub(crate) fn set_encoder(&mut self, encoder: &'a mut (dyn Any + Send + 'static)) {
        self.encoder = Some(encoder);
    }

    /// Returns the [encoder](crate::Framing::encoder) of the framing, if its type is `T`.
    pub fn encoder<T: Any>(&mut self) -> Option<&mut T> {
        self.encoder.as_mut()?.downcast_mut()
    }

    /// Appends bytes to the message.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(buffer) = self.claim(bytes.len()) {
            buffer.extend_from_slice(bytes);
        }
    }

    /// Returns the buffer, to append exactly `length` bytes. Returns `None` if that is too many, or more
    /// than there is memory for.
    #[inline]
    pub(super) fn claim(&mut self, length: usize) -> Option<&mut Vec<u8>> {
        match self.room.checked_sub(length) {
            Some(room) if has_capacity(self.buffer, length) => {
                self.room = room;
                Some(self.buffer)
            }
            _ => {
                self.exceed(length);
                None
            }
        }
    }

    /// Counts what does not fit.
    fn exceed(&mut self, length: usize) {
        self.excessive += self.limit - self.room + length;
        // Nothing fits from here on, so that no part stands where an earlier one is missing.
        self.limit = 0;
        self.room = 0;
    }

    /// Says that the function's answer is an error, instead of a message.
    ///
    /// A framing with control frames sends it as one; the others send the text as the reply.
    pub fn error(&mut self, error: impl fmt::Display) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(error.to_string().as_bytes());
        self.text = (start, self.buffer.len());
        self.kind = Kind::Error;
    }

    /// Says that the connection closes after this message, or after the error instead of it, or without a
    /// message after [`nothing`](Self::nothing).
    pub fn last(&mut self) {
        self.closes = true;
    }

    /// Says that there is no message: nothing is sent.
    pub fn nothing(&mut self) {
        self.kind = Kind::Nothing;
    }

    /// Returns `true` if the outcome is an ordinary message.
    #[inline]
    pub(crate) fn is_message(&self) -> bool {
        self.kind == Kind::Message && !self.closes && self.excessive == 0
    }

    /// Returns `true` if the connection closes afterwards.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    #[cold]
    pub(crate) fn into_outcome(self) -> Outcome {
        let text = || {
            let text = self.buffer.get(self.text.0..self.text.1);
            String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
        };
        match self.kind {
            Kind::Message if self.excessive > 0 => Outcome::TooLarge(self.excessive),
            Kind::Message => Outcome::Message,
            Kind::Nothing => Outcome::Nothing,
            Kind::Error => Outcome::Error(text()),
        }
    }
}

/// Returns `true` if `length` bytes can be appended.
#[inline]
fn has_capacity(buffer: &mut Vec<u8>, length: usize) -> bool {
    length <= buffer.capacity() - buffer.len() || can_grow(buffer, length)
}

/// The system may refuse the memory for a large message. That must not end the process.
#[cold]
fn can_grow(buffer: &mut Vec<u8>, length: usize) -> bool {
    buffer.try_reserve(length).is_ok()
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("room", &self.room)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// For encoders that write to one; it never fails.
impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_beyond_the_limit_is_not_stored() {
        for (length, fits) in [(9, true), (10, true), (11, false)] {
            let mut buffer = b"before".to_vec();
            let mut writer = Writer::new(&mut buffer, 10);
            writer.put(&vec![b'x'; length]);
            let outcome = writer.into_outcome();
            let expected = if fits {
                Outcome::Message
            } else {
                Outcome::TooLarge(length)
            };
            assert_eq!(outcome, expected);
            assert_eq!(buffer.len(), 6 + if fits { length } else { 0 });
        }
    }

    #[test]
    fn message_once_too_large_stays_so() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, 2);
        writer.put(b"abc");
        writer.put(b"a");
        writer.last();
        assert_eq!(writer.into_outcome(), Outcome::TooLarge(4));
        assert!(buffer.is_empty());
    }
}
