//! Looking for bytes.

/// So many bytes are looked at together, in a way that compiles to vector instructions.
const LANES: usize = 32;

/// Returns where `wanted` first stands in `bytes`.
pub(super) fn find_byte(bytes: &[u8], wanted: u8) -> Option<usize> {
    let is_wanted = |byte: &u8| *byte == wanted;
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    for (number, chunk) in chunks.iter().enumerate() {
        // No early exit within a chunk, or there would be a branch for each byte.
        if chunk.iter().fold(false, |any, byte| any | is_wanted(byte)) {
            return chunk
                .iter()
                .position(is_wanted)
                .map(|at| number * LANES + at);
        }
    }
    let at = rest.iter().position(is_wanted)?;
    Some(chunks.len() * LANES + at)
}

/// Returns where `wanted` first stands in `bytes`, which takes time in proportion to their product
/// at worst; what is wanted here has a few bytes.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut from = 0;
    loop {
        let at = from + find_byte(bytes.get(from..)?, *first)?;
        if bytes.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_stands_at_the_first_place_that_windows_find() {
        let mut state = 1_u32;
        for length in (0..200).chain([1_000]) {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"aaaaaaab"[(state >> 29) as usize]
                })
                .collect();
            let at = |wanted: &[u8]| {
                let mut windows = bytes.windows(wanted.len());
                windows.position(|window| window == wanted)
            };
            assert_eq!(find_byte(&bytes, b'b'), at(b"b"));
            for wanted in [&b"b"[..], b"ab", b"bb", b"bab", b"aabaa"] {
                assert_eq!(find(&bytes, wanted), at(wanted), "{wanted:?}");
            }
        }
    }
}
