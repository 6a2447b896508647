//! A few bytes, packed into a const parameter.

/// The maximum number of bytes: the size of the number, less one byte for their count.
pub(super) const MAX_LEN: usize = 15;

/// Packs up to 15 bytes into a number, which begins with their count.
pub(super) const fn pack(bytes: &[u8]) -> u128 {
    let mut packed = [0; MAX_LEN + 1];
    let [length, rest @ ..] = &mut packed;
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 15")]
    {
        *length = bytes.len() as u8;
    }
    rest.split_at_mut(bytes.len()).0.copy_from_slice(bytes);
    u128::from_be_bytes(packed)
}

/// Returns `true` if this number is the result of [`pack`] for at least one byte.
pub(super) const fn is_packed(number: u128) -> bool {
    let [count, ..] = number.to_be_bytes();
    match count {
        15 => true,
        // Zeros follow the packed bytes.
        1..15 => number << (8 * (count as u32 + 1)) == 0,
        _ => false,
    }
}

/// Returns the bytes that [`pack`] has packed.
pub(super) fn unpacked(packed: &[u8; MAX_LEN + 1]) -> &[u8] {
    let [length, bytes @ ..] = packed;
    bytes.get(..usize::from(*length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::framing::{delimiter, prompt};

    #[test]
    fn only_1_to_15_bytes_are_packed() {
        for pack_bytes in [delimiter, prompt] {
            for (length, fits) in [(0, false), (1, true), (MAX_LEN, true), (MAX_LEN + 1, false)] {
                let packed = catch_unwind(|| pack_bytes(&[b'x'; MAX_LEN + 1][..length]));
                assert_eq!(packed.ok().map(is_packed), fits.then_some(true), "{length}");
            }
        }
    }
}
