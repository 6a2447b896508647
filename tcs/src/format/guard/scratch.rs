//! Memory for text that cannot be borrowed from the message.

use std::cell::Cell;

/// Where text is put that a format had to rewrite, such as `"Zo\u00eb"`, so that it can be borrowed
/// like any other.
///
/// Text gets shorter when it is rewritten, so the length of the message is enough for all of it. The
/// memory is taken when the first text needs it.
#[derive(Default)]
pub(super) struct Scratch<'a> {
    unused: Cell<Option<&'a mut Vec<u8>>>,
    length: usize,
    free: Cell<&'a mut [u8]>,
}

impl<'a> Scratch<'a> {
    #[cfg(feature = "json")]
    pub(super) fn new(memory: &'a mut Vec<u8>, length: usize) -> Self {
        Self {
            unused: Cell::new(Some(memory)),
            length,
            free: Cell::default(),
        }
    }

    /// Returns a copy of `text` that lives as long as the memory. Returns `None` without memory.
    #[inline]
    pub(super) fn keep(&self, text: &str) -> Option<&'a str> {
        str::from_utf8(self.keep_bytes(text.as_bytes())?).ok()
    }

    /// Like `keep`, for bytes.
    #[inline]
    pub(super) fn keep_bytes(&self, bytes: &[u8]) -> Option<&'a [u8]> {
        if self.length == 0 {
            None
        } else {
            self.copy(bytes)
        }
    }

    #[cold]
    fn copy(&self, bytes: &[u8]) -> Option<&'a [u8]> {
        if let Some(memory) = self.unused.take() {
            memory.clear();
            memory.try_reserve_exact(self.length).ok()?;
            memory.resize(self.length, 0);
            self.free.set(memory);
        }
        let (kept, free) = self.free.take().split_at_mut_checked(bytes.len())?;
        kept.copy_from_slice(bytes);
        self.free.set(free);
        Some(kept)
    }
}
