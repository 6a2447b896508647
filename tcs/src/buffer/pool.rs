//! A pool of unused buffers in each thread.
//!
//! A reused buffer is likely to be in the cache of its thread, and costs no call of the allocator. Each thread has its
//! own pool, so no lock is necessary. A connection that moves to another thread returns its buffers there.

use std::{
    cell::RefCell,
    mem::take,
    ops::Deref,
    thread::{AccessError, LocalKey},
};

/// The capacity of a new buffer: larger than the usual batch, smaller than a thread's cache.
pub(super) const NEW_CAPACITY: usize = 16 * 1024;
/// The largest capacity that the pool keeps. A thread keeps only one larger buffer, so that a burst of large frames
/// does not hold memory afterwards.
pub(super) const LARGEST: usize = 128 * 1024;

/// The unused items of one kind in a thread.
pub(super) type Pool<T> = RefCell<Vec<T>>;

/// The largest capacity of a short message. A thread keeps up to 1,024 short messages.
const LARGEST_SHORT: usize = 2 * 1024;

/// The largest capacity of the one large buffer that a thread keeps.
const LARGEST_SPARE: usize = 2 * 1024 * 1024;

thread_local! {
    /// Without this spare buffer, an allocator may return the memory of each large message to the system. glibc does so
    /// from twice the largest message on (`M_TRIM_THRESHOLD` in mallopt(3)), and the next message causes a page fault
    /// for each of its pages.
    static LARGE_SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static UNUSED_MEMORY: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
    static UNUSED_SHORT: Pool<Vec<u8>> = const { Pool::new(Vec::new()) };
}

/// The bytes a pool may keep. An item is kept only if the pool, with every item as large as this one, stays within this
/// bound. So small items do not displace large ones, and a pool has at most 7 MiB of mixed sizes: 16 items of 128 KiB,
/// and each further one is smaller, down to 16 KiB.
const POOL_BYTES: usize = 2 * 1024 * 1024;

/// Returns an empty buffer with capacity.
pub(super) fn get() -> Vec<u8> {
    get_from(&UNUSED_MEMORY).unwrap_or_else(|| Vec::with_capacity(NEW_CAPACITY))
}

/// Takes the large buffer of the thread if it has at least `capacity`, at most `limit`, and at most twice what is needed.
pub(super) fn get_large(capacity: usize, limit: usize) -> Option<Vec<u8>> {
    let fitting = capacity..=limit.min(capacity.saturating_mul(2));
    let spare = LARGE_SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        fitting
            .contains(&spare.capacity())
            .then(|| take(&mut *spare))
    });
    spare.ok().flatten()
}

/// Returns a buffer to the pool, and leaves an empty one without capacity.
pub(super) fn put(buffer: &mut Vec<u8>) {
    let mut buffer = take(buffer);
    buffer.clear();
    let capacity = buffer.capacity();
    if is_poolable(capacity) {
        put_in(&UNUSED_MEMORY, capacity, buffer);
    } else if (LARGEST..=LARGEST_SPARE).contains(&capacity) {
        // If the thread is ending, the buffer is freed.
        drop(LARGE_SPARE.try_with(|spare| spare.replace(buffer)));
    }
}

/// Returns `true` if the capacity is enough for a new connection, and not too large to be kept.
#[inline]
pub(super) fn is_poolable(capacity: usize) -> bool {
    (NEW_CAPACITY..=LARGEST).contains(&capacity)
}

/// Takes the item that was returned last.
#[inline]
pub(super) fn get_from<T>(pool: &'static LocalKey<Pool<T>>) -> Option<T> {
    // When a thread ends, the pool may be gone before the last connection.
    pool.try_with(|pool| pool.borrow_mut().pop()).ok().flatten()
}

/// Keeps `item`, which has `capacity` bytes, unless the pool is full.
#[inline]
pub(super) fn put_in<T>(pool: &'static LocalKey<Pool<T>>, capacity: usize, item: T) {
    // If the thread is ending and its pool is gone, the item is freed.
    let _: Result<(), AccessError> = pool.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if (pool.len() + 1) * capacity <= POOL_BYTES {
            pool.push(item);
        }
    });
}

/// The bytes of an owned message. The next short message reuses the memory of a short one.
#[derive(Debug, Default)]
pub(crate) struct MessageBytes(pub(crate) Vec<u8>);

impl MessageBytes {
    /// Returns an empty buffer for a message of about this length.
    pub(crate) fn for_len(length: usize) -> Self {
        let unused = (length <= LARGEST_SHORT).then(|| get_from(&UNUSED_SHORT));
        Self(unused.flatten().unwrap_or_default())
    }
}

impl Deref for MessageBytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl Drop for MessageBytes {
    fn drop(&mut self) {
        if (1..=LARGEST_SHORT).contains(&self.0.capacity()) {
            let mut bytes = take(&mut self.0);
            bytes.clear();
            put_in(&UNUSED_SHORT, LARGEST_SHORT, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_taken_again_unless_they_are_too_large() {
        let address = |buffer: &Vec<u8>| buffer.as_ptr().addr();
        let mut buffer = get();
        buffer.push(1);
        let usual = address(&buffer);
        put(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        buffer = get();
        assert_eq!((address(&buffer), buffer.len()), (usual, 0));

        buffer.reserve_exact(LARGEST + 1);
        put(&mut buffer);
        assert_eq!(get().capacity(), NEW_CAPACITY);
    }

    #[test]
    fn thread_keeps_one_large_buffer() {
        put(&mut Vec::with_capacity(LARGEST + 1));
        let mut last = Vec::with_capacity(4 * LARGEST);
        last.push(1);
        put(&mut last);
        // The buffer would be too small, larger than the reservation, or much larger than necessary.
        for (capacity, limit) in [
            (4 * LARGEST + 1, usize::MAX),
            (LARGEST + 1, 4 * LARGEST - 1),
            (2 * LARGEST - 1, usize::MAX),
        ] {
            assert_eq!(get_large(capacity, limit), None, "{capacity}");
        }
        let spare = get_large(2 * LARGEST, 4 * LARGEST).expect("it fits");
        assert_eq!((spare.capacity(), spare.len()), (4 * LARGEST, 0));
        assert_eq!(get_large(2 * LARGEST, usize::MAX), None);

        put(&mut Vec::with_capacity(LARGEST_SPARE + 1));
        assert_eq!(get_large(LARGEST_SPARE + 1, usize::MAX), None);
    }

    #[test]
    fn thread_keeps_a_limited_number_of_bytes() {
        let kept =
            || UNUSED_MEMORY.with_borrow(|pool| pool.iter().map(Vec::capacity).sum::<usize>());
        for _ in 0..200 {
            put(&mut Vec::with_capacity(LARGEST));
        }
        assert_eq!(kept(), POOL_BYTES);
        for capacity in (NEW_CAPACITY..LARGEST).rev().step_by(64) {
            put(&mut Vec::with_capacity(capacity));
        }
        assert!((6 << 20..7 << 20).contains(&kept()), "{}", kept());
        UNUSED_MEMORY.with_borrow_mut(Vec::clear);
        for _ in 0..200 {
            put(&mut Vec::with_capacity(NEW_CAPACITY));
        }
        assert_eq!(kept(), POOL_BYTES);
    }
}
