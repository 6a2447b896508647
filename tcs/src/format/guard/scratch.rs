//! Memory for text that cannot be borrowed from the message.

use std::cell::Cell;

/// Holds copies of text that a format had to rewrite, such as `"Zo\u00eb"`, so that a value can
/// borrow it like any other text.
///
/// Rewritten text is shorter, so the length of the message is enough for all copies. The memory is
/// taken for the first copy, because most messages need none.
pub(super) struct Scratch<'a> {
    unused: Cell<Option<&'a mut Vec<u8>>>,
    length: usize,
    free: Cell<&'a mut [u8]>,
}

impl<'a> Scratch<'a> {
    /// Creates a scratch for the text of a message of `length` bytes.
    pub(super) fn new(memory: Option<&'a mut Vec<u8>>, length: usize) -> Self {
        Self {
            unused: Cell::new(memory),
            length,
            free: Cell::default(),
        }
    }

    /// Returns a copy of `text` that lives as long as the memory. Returns `None` without memory.
    pub(super) fn copy_text(&self, text: &str) -> Option<&'a str> {
        str::from_utf8(self.copy(text.as_bytes())?).ok()
    }

    /// Returns a copy of `bytes` that lives as long as the memory. Returns `None` without memory.
    pub(super) fn copy(&self, bytes: &[u8]) -> Option<&'a [u8]> {
        if let Some(memory) = self.unused.take() {
            memory.clear();
            // Without memory, text is owned as without a scratch, and a type that borrows reports an error.
            memory.try_reserve_exact(self.length).ok()?;
            memory.resize(self.length, 0);
            self.free.set(memory);
        }
        let (copy, free) = self.free.take().split_at_mut_checked(bytes.len())?;
        copy.copy_from_slice(bytes);
        self.free.set(free);
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn scratch_holds_as_many_bytes_as_the_message() {
        let mut memory = b"former".to_vec();
        let scratch = Scratch::new(Some(&mut memory), 5);
        let copies = [scratch.copy(b"ab"), scratch.copy(b""), scratch.copy(b"cde")];
        assert_eq!(copies, [Some(b"ab".as_slice()), Some(b""), Some(b"cde")]);
        assert_eq!(scratch.copy(b""), Some(b"".as_slice()));
        assert_eq!(scratch.copy(b"f"), None);
    }

    #[test]
    fn scratch_copies_nothing_beyond_its_length_or_without_memory() {
        let mut memory = Vec::new();
        let scratch = Scratch::new(Some(&mut memory), 2);
        assert_eq!(scratch.copy_text("abc"), None);
        assert_eq!(Scratch::new(None, 2).copy_text("ab"), None);
    }
}
