//! A pool of unused buffers in each thread.

use std::{
    cell::RefCell,
    thread::{AccessError, LocalKey},
};

/// The capacity of a new buffer: larger than the usual batch, smaller than a thread's cache.
pub(super) const NEW: usize = 16 * 1024;
/// The largest capacity that is kept. A larger buffer is freed, so that a burst of large frames
/// does not hold memory afterwards.
pub(super) const LARGEST: usize = 128 * 1024;

/// The unused items of one kind in a thread.
pub(super) type Pool<T> = RefCell<Vec<T>>;

thread_local! {
    static SINGLE: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
}
/// The maximum number of single buffers that a thread keeps: 2 MiB if none has grown.
const KEPT: usize = 128;

/// Returns an empty buffer with capacity.
pub(super) fn take() -> Vec<u8> {
    take_from(&SINGLE).unwrap_or_else(|| Vec::with_capacity(NEW))
}

/// Returns a buffer to the pool, and leaves an empty one without capacity.
pub(super) fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if is_usual(buffer.capacity()) {
        buffer.clear();
        give_to(&SINGLE, KEPT, buffer);
    }
}

/// Returns `true` if the capacity is enough for a new connection, and not too large to be kept.
#[inline]
pub(super) fn is_usual(capacity: usize) -> bool {
    (NEW..=LARGEST).contains(&capacity)
}

/// Takes the item that was returned last.
#[inline]
pub(super) fn take_from<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
    // When a thread ends, the pool may be gone before the last connection.
    pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
}

/// Keeps `item`, unless the pool has `most` items already.
#[inline]
pub(super) fn give_to<T>(pool: &'static LocalKey<Pool<T>>, most: usize, item: T) {
    // Without a pool, the item is freed.
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
