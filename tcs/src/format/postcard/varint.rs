//! Integers of 7 bits in each byte, the lowest first; the top bit says that another byte follows.
//!
//! Most are read and written in the place where they stand (`Input::varint`, `Output::varint`); here
//! is what they are made with, and how the longer ones are read. Nothing here takes an `Input` or an
//! `Output`, which can therefore stay in registers.

use super::Failure;

/// The top bits of eight bytes.
pub(super) const TOP: u64 = 0x8080_8080_8080_8080;

/// Puts the lowest four groups of 7 bits into a byte each; there must be no more.
#[inline]
pub(super) const fn spread(groups: u32) -> u32 {
    // To add a part of a number once more is to shift that part by a bit.
    let pairs = groups + 3 * (groups & 0x0fff_c000);
    pairs + (pairs & 0x3f80_3f80)
}

/// Puts eight groups of 7 bits into a byte each; there must be no more.
#[inline]
pub(super) const fn spread_long(groups: u64) -> u64 {
    let fours = groups + 15 * (groups & (0x0fff_ffff << 28));
    let pairs = fours + 3 * (fours & 0x0fff_c000_0fff_c000);
    pairs + (pairs & 0x3f80_3f80_3f80_3f80)
}

/// Closes the gaps between four groups of 7 bits; the top bits must be clear.
#[inline]
pub(super) fn joined(word: u32) -> u64 {
    let pairs = word - ((word & 0x7f00_7f00) >> 1);
    ((pairs & 0xffff) + ((pairs & 0x3fff_0000) >> 2)).into()
}

/// Closes the gaps between eight groups of 7 bits.
#[inline]
fn joined_long(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let fours = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (fours & 0x0fff_ffff) | ((fours & (0x0fff_ffff << 32)) >> 4)
}

/// Reads what no look at four bytes has told, and says how many bytes it has: none, if it is wrong.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the greatest of the type is known where it is called"
)]
pub(super) fn long(bytes: &[u8], most: u64) -> (u64, usize) {
    if most == u64::MAX {
        of_64(bytes)
    } else if most == u64::from(u32::MAX) {
        of_32(bytes)
    } else {
        one_by_one(bytes, most)
    }
}

/// Looks at eight bytes together.
#[inline(never)]
fn of_64(bytes: &[u8]) -> (u64, usize) {
    let Some((window, after)) = bytes.split_first_chunk() else {
        return one_by_one(bytes, u64::MAX);
    };
    let word = u64::from_le_bytes(*window);
    let (groups, ends) = (word & !TOP, !word & TOP);
    if ends != 0 {
        // What is behind the last byte is no part of it.
        let value = joined_long(groups & (ends ^ (ends - 1)));
        return (value, (ends.trailing_zeros() / 8 + 1) as usize);
    }
    match after {
        [a @ ..0x80, ..] => (joined_long(groups) | u64::from(*a) << 56, 9),
        [a, b @ ..=1, ..] => {
            let high = u64::from(a & 0x7f) | u64::from(*b) << 7;
            (joined_long(groups) | high << 56, 10)
        }
        _ => (0, 0),
    }
}

/// Looks for five bytes first, which more than nine in ten of all integers of 32 bits have.
#[inline(never)]
fn of_32(bytes: &[u8]) -> (u64, usize) {
    if let [a, b, c, d, last @ ..0x10, ..] = bytes
        && a & b & c & d >= 0x80
    {
        let word = u32::from_le_bytes([*a, *b, *c, *d]);
        (joined(word & 0x7f7f_7f7f) | u64::from(*last) << 28, 5)
    } else {
        one_by_one(bytes, u32::MAX.into())
    }
}

#[inline(never)]
fn one_by_one(bytes: &[u8], most: u64) -> (u64, usize) {
    let mut rest = bytes;
    by_bytes(&mut rest, most).map_or((0, 0), |value| (value, bytes.len() - rest.len()))
}

/// Finds out why an integer is wrong, and how many bytes are left behind the place.
#[cold]
pub(super) fn wrong(mut bytes: &[u8], most: u64) -> (Failure, usize) {
    let failure = by_bytes(&mut bytes, most).err();
    (failure.unwrap_or_else(too_large), bytes.len())
}

/// Reads an integer byte by byte. `most` is the greatest of its type.
macro_rules! by_bytes {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(rest: &mut &[u8], most: $type) -> Result<$type, Failure> {
            let (mut value, mut shift) = (0, 0);
            loop {
                let (byte, after) = rest.split_first().ok_or_else(ends)?;
                *rest = after;
                let group = <$type>::from(byte & 0x7f);
                // Bits that are shifted out are too many as well.
                if group > most.checked_shr(shift).unwrap_or_default() {
                    return Err(too_large());
                }
                value |= group << shift;
                if *byte < 0x80 {
                    return Ok(value);
                }
                shift += 7;
                if shift > most.ilog2() {
                    return Err(too_large());
                }
            }
        }
    };
}

by_bytes!(by_bytes, u64);
by_bytes!(by_bytes_of_128, u128);

#[cold]
pub(super) fn ends() -> Failure {
    Failure::new("it ends too early")
}

#[cold]
fn too_large() -> Failure {
    Failure::new("an integer is too large for its type")
}
