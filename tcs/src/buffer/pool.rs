//! Memory that no connection holds at the moment, kept by each thread.

use std::{
    cell::RefCell,
    thread::{AccessError, LocalKey},
};

/// The capacity of a new buffer: larger than the usual batch, smaller than a thread's cache.
pub(super) const NEW: usize = 16 * 1024;
/// A buffer that grew beyond this is freed, so that a burst of large frames leaves nothing behind.
const LARGEST: usize = 128 * 1024;

/// What a thread keeps of one kind.
pub(super) type Pool<T> = RefCell<Vec<T>>;

thread_local! {
    static SINGLE: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
}
/// A thread keeps this many single buffers: 2 MiB if none has grown.
const KEPT: usize = 128;

/// Takes an empty buffer with capacity.
pub(super) fn take() -> Vec<u8> {
    take_from(&SINGLE).unwrap_or_else(|| Vec::with_capacity(NEW))
}

/// Gives a buffer back, and leaves an empty one without capacity.
pub(super) fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if is_usual(buffer.capacity()) {
        buffer.clear();
        give_to(&SINGLE, KEPT, buffer);
    }
}

/// Tells whether a buffer is large enough for a new connection, and not too large to be kept.
#[inline]
pub(super) fn is_usual(capacity: usize) -> bool {
    (NEW..=LARGEST).contains(&capacity)
}

/// Takes what was given back last.
#[inline]
pub(super) fn take_from<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
    // At the end of a thread the pool may be gone before the last connection.
    pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
}

/// Keeps `item`, unless there are `most` already.
#[inline]
pub(super) fn give_to<T>(pool: &'static LocalKey<Pool<T>>, most: usize, item: T) {
    // Without a pool it is freed.
    let _: Result<(), AccessError> = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < most {
            pool.push(item);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_taken_again_unless_they_are_too_large() {
        let address = |buffer: &Vec<u8>| buffer.as_ptr().addr();
        let mut buffer = take();
        buffer.push(1);
        let usual = address(&buffer);
        give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        buffer = take();
        assert_eq!((address(&buffer), buffer.len()), (usual, 0));

        buffer.reserve_exact(LARGEST + 1);
        give(&mut buffer);
        assert_eq!(take().capacity(), NEW);
    }

    #[test]
    fn thread_keeps_so_many_buffers() {
        for _ in 0..2 * KEPT {
            give(&mut Vec::with_capacity(NEW));
        }
        assert_eq!(SINGLE.with_borrow(Vec::len), KEPT);
    }
}
