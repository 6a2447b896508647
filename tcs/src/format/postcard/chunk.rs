//! Where values are written.

use super::{
    Failure,
    varint::{TOP, spread, spread_long},
};
use crate::Writer;

/// Collects what is small, and puts it into the message together.
#[derive(Debug)]
pub(super) struct Output<'w, 'a> {
    writer: &'w mut Writer<'a>,
    chunk: &'w mut Chunk,
    /// How many bytes of the chunk are used.
    used: usize,
}

/// Two lines of the cache. It is not in the `Output`, whose other parts can then stay in registers.
pub(super) type Chunk = [u8; 128];

impl<'w, 'a> Output<'w, 'a> {
    #[inline]
    pub(super) const fn new(writer: &'w mut Writer<'a>, chunk: &'w mut Chunk) -> Self {
        Self {
            writer,
            chunk,
            used: 0,
        }
    }

    /// Puts what is left.
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
    pub(super) fn small<const N: usize>(&mut self, bytes: [u8; N], count: usize) {
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

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let free = self.chunk.get_mut(self.used..);
        if let Some(room) = free.and_then(|free| free.get_mut(..bytes.len())) {
            room.copy_from_slice(bytes);
            self.used += bytes.len();
        } else {
            put(self.writer, self.chunk.get(..self.used).unwrap_or_default());
            put(self.writer, bytes);
            self.used = 0;
        }
    }

    /// Writes an integer of 7 bits in each byte.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest bits are what is wanted"
    )]
    #[expect(
        clippy::inline_always,
        reason = "outlined, it costs a third of a list of integers"
    )]
    #[inline(always)]
    pub(super) fn varint(&mut self, value: u64) {
        if value < 1 << 7 {
            self.small([value as u8], 1);
        } else if value < 1 << 28 {
            let word = spread(value as u32);
            if value >= 1 << 21 {
                self.small((word + 0x0080_8080).to_le_bytes(), 4);
            } else if value >= 1 << 14 {
                self.small((word + 0x8080).to_le_bytes(), 3);
            } else {
                self.small((word + 0x80).to_le_bytes(), 2);
            }
        } else if value < 1 << 35 {
            let word = u64::from(spread(value as u32 & 0x0fff_ffff)) + 0x8080_8080;
            self.small((word + (value >> 28 << 32)).to_le_bytes(), 5);
        } else if value < 1 << 56 {
            let count = value.ilog2() as usize / 7 + 1;
            let word = spread_long(value) + (TOP >> (72 - 8 * count));
            self.small(word.to_le_bytes(), count);
        } else {
            let word = spread_long(value & (u64::MAX >> 8)) + TOP;
            self.small(word.to_le_bytes(), 8);
            // The last of 8 bits may need a byte for its own top bit.
            let last = (value >> 56) as u8;
            self.small([last, 1], 1 + usize::from(last >> 7));
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest bits are what is wanted"
    )]
    pub(super) fn varint_of_128(&mut self, mut value: u128) {
        while value >= 1 << 7 {
            self.small([value as u8 | 0x80], 1);
            value >>= 7;
        }
        self.small([value as u8], 1);
    }

    #[inline]
    pub(super) fn count(&mut self, count: Option<usize>) -> Result<(), Failure> {
        let Some(count) = count else {
            return Err(Failure::new("a list or map does not know its length"));
        };
        self.varint(count as u64);
        Ok(())
    }
}

#[inline(never)]
fn put(writer: &mut Writer<'_>, bytes: &[u8]) {
    writer.put(bytes);
}
