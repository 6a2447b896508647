//! Small parts of a message, put together.

use std::io;

use super::Writer;

/// Collects what is small, and puts it into the message together.
///
/// To put something means to look at the message's limit and at the buffer's capacity, and to note
/// both, in memory. An encoder that writes many small parts pays for that once.
#[derive(Debug)]
pub(super) struct Collected<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// It is not in here, so that the other parts can stay in registers.
    chunk: &'w mut Chunk,
    /// How many bytes of the chunk are used.
    used: usize,
}

/// Two lines of the cache: a smaller one is put more often, a larger one costs more to clear.
pub(super) type Chunk = [u8; 128];

impl<'w, 'a> Collected<'w, 'a> {
    #[inline]
    #[must_use = "what is not finished is lost"]
    pub(super) const fn new(writer: &'w mut Writer<'a>, chunk: &'w mut Chunk) -> Self {
        Self {
            writer,
            chunk,
            used: 0,
        }
    }

    /// Puts what is left; without it, that is lost.
    #[inline]
    pub(super) fn finish(self) {
        self.writer
            .put(self.chunk.get(..self.used).unwrap_or_default());
    }

    /// Writes the first `count` of a few bytes.
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs more than what it does"
    )]
    #[inline(always)]
    pub(super) fn first<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
        if self.used > self.chunk.len() - N {
            put(self.writer, self.chunk.get(..self.used).unwrap_or_default());
            self.used = 0;
        }
        let free = self.chunk.get_mut(self.used..);
        if let Some(room) = free.and_then(<[u8]>::first_chunk_mut) {
            *room = bytes;
            self.used += count;
        }
    }

    /// Writes bytes.
    #[inline]
    pub(super) fn all(&mut self, bytes: &[u8]) {
        let free = self.chunk.get_mut(self.used..);
        if let Some(room) = free.and_then(|free| free.get_mut(..bytes.len())) {
            copy(bytes, room);
            self.used += bytes.len();
        } else {
            put(self.writer, self.chunk.get(..self.used).unwrap_or_default());
            put(self.writer, bytes);
            self.used = 0;
        }
    }
}

/// Copies without a call what has 8 to 16 bytes: as two parts, which may overlap.
#[inline]
fn copy(bytes: &[u8], room: &mut [u8]) {
    if bytes.len() <= 16
        && let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
    {
        if let Some(room) = room.first_chunk_mut() {
            *room = *first;
        }
        if let Some(room) = room.last_chunk_mut() {
            *room = *last;
        }
    } else {
        room.copy_from_slice(bytes);
    }
}

/// Takes no `Collected`, which then stays in registers.
#[inline(never)]
fn put(writer: &mut Writer<'_>, bytes: &[u8]) {
    writer.put(bytes);
}

/// For encoders that write to one; it never fails.
impl io::Write for Collected<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.all(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match *bytes {
            [byte] => self.first([byte], 1),
            _ => self.all(bytes),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Outcome;

    #[test]
    fn parts_are_together_in_order_up_to_the_limit() {
        let source: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for step in 1..40 {
            for limit in [1000, 999, 300, 0] {
                let mut buffer = b"before".to_vec();
                let mut writer = Writer::new(&mut buffer, limit);
                let mut chunk = [0; _];
                let mut collected = Collected::new(&mut writer, &mut chunk);
                for part in source.chunks(step) {
                    io::Write::write_all(&mut collected, part).expect("it never fails");
                }
                collected.finish();
                if limit == 1000 {
                    assert_eq!(writer.into_outcome(), Outcome::Message);
                    assert_eq!(buffer, [b"before", source.as_slice()].concat());
                } else {
                    assert_eq!(writer.into_outcome(), Outcome::TooLarge(1000));
                    assert!(buffer.len() <= 6 + limit);
                }
            }
        }
    }

    #[test]
    fn large_parts_do_not_wait() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, usize::MAX);
        let mut chunk = [0; _];
        let mut collected = Collected::new(&mut writer, &mut chunk);
        collected.all(b"abc");
        collected.all(&[b'x'; 1000]);
        collected.all(b"def");
        collected.finish();
        assert_eq!(buffer, [b"abc", [b'x'; 1000].as_slice(), b"def"].concat());
    }
}
