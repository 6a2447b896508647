//! A pool of unused buffers in each thread.
//!
//! A buffer that is taken again is likely to be in the cache of its thread, and costs no call of the allocator. Pools
//! of threads need no lock. A connection that moves to another thread returns its buffers there.

use std::{
    cell::RefCell,
    thread::{AccessError, LocalKey},
};

/// The capacity of a new buffer: larger than the usual batch, smaller than a thread's cache.
pub(super) const NEW_CAPACITY: usize = 16 * 1024;
/// The largest capacity that is kept. A larger buffer is freed, so that a burst of large frames
/// does not hold memory afterwards.
const LARGEST: usize = 128 * 1024;

/// The unused items of one kind in a thread.
pub(super) type Pool<T> = RefCell<Vec<T>>;

thread_local! {
    static UNUSED: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
}
/// The maximum number of single buffers that a thread keeps: 2 MiB if none has grown.
const MAX_UNUSED: usize = 128;

/// Returns an empty buffer with capacity.
pub(super) fn take() -> Vec<u8> {
    take_from(&UNUSED).unwrap_or_else(|| Vec::with_capacity(NEW_CAPACITY))
}

/// Returns a buffer to the pool, and leaves an empty one without capacity.
pub(super) fn give(buffer: &mut Vec<u8>) {
    let mut buffer = std::mem::take(buffer);
    if is_usual(buffer.capacity()) {
        buffer.clear();
        give_to(&UNUSED, MAX_UNUSED, buffer);
    }
}

/// Returns `true` if the capacity is enough for a new connection, and not too large to be kept.
#[inline]
pub(super) fn is_usual(capacity: usize) -> bool {
    (NEW_CAPACITY..=LARGEST).contains(&capacity)
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
        assert_eq!(take().capacity(), NEW_CAPACITY);
    }

    #[test]
    fn thread_keeps_a_limited_number_of_buffers() {
        for _ in 0..2 * MAX_UNUSED {
            give(&mut Vec::with_capacity(NEW_CAPACITY));
        }
        assert_eq!(UNUSED.with_borrow(Vec::len), MAX_UNUSED);
    }
}
