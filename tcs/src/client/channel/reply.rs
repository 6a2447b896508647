//! The bytes of a reply, and the buffer that each thread keeps for the next one.

use std::{cell::Cell, mem::take};

/// The largest capacity that is kept. The buffer of a larger reply is freed with it.
const MAX_SPARE: usize = 4 * 1024;

thread_local! {
    /// The buffer of the last reply that was read on this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The bytes of a reply. When it is dropped, its buffer becomes the spare one of the thread.
#[derive(Debug)]
pub(super) struct Reply(pub(super) Vec<u8>);

/// Takes the spare buffer of the thread, or a new one. The buffer is empty.
#[inline]
pub(super) fn take_spare() -> Vec<u8> {
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    spare.clear();
    spare
}

/// Makes a buffer the spare one of the thread, unless it is large.
#[inline]
pub(super) fn give_spare(buffer: Vec<u8>) {
    if (1..=MAX_SPARE).contains(&buffer.capacity()) {
        // At the end of a thread there may be no spare buffer any more.
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}

impl Drop for Reply {
    #[inline]
    fn drop(&mut self) {
        give_spare(take(&mut self.0));
    }
}
