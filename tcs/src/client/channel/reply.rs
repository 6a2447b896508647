//! The bytes of a reply, and what becomes of their buffer.

use std::cell::Cell;

/// A buffer for a reply that grew beyond this is freed with its reply.
const KEPT: usize = 4 * 1024;

thread_local! {
    /// The buffer of the last reply that was read on this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes of a reply, whose buffer is kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes a reply and leaves a buffer in its place.
    #[inline]
    pub(super) fn exchange(&mut self, buffer: &mut Vec<u8>) {
        let spare = SPARE.try_with(Cell::take).unwrap_or_default();
        self.0 = std::mem::replace(buffer, spare);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reply {
    #[inline]
    fn drop(&mut self) {
        if (1..=KEPT).contains(&self.0.capacity()) {
            let buffer = std::mem::take(&mut self.0);
            // At the end of a thread there may be none.
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}
