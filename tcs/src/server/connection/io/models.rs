//! A model of a connection that has memory which another waits for.

use std::task::Waker;

use tokio::io::empty;

use super::{
    super::{
        memory::wait_for_memory,
        models::{Echo, settings},
    },
    *,
};
use crate::models::{block_on, explore, scope};

/// Returns a buffer with the first bytes of a frame.
fn started() -> ReadBuffer {
    let mut read = ReadBuffer::default();
    let mut cx = Context::from_waker(Waker::noop());
    let polled = read.poll_read(&mut ReadAhead::default(), &mut cx, &mut &b"\0\x10"[..]);
    assert!(polled.is_ready() && read.has_started());
    read
}

#[test]
fn connection_that_begins_to_wait_learns_that_others_wait_for_its_memory() {
    explore(|| {
        let registry = settings().registry();
        let io = || Io::new::<Echo>(Stream::new(empty()), None, registry.register(), None);
        let (mut holder, mut waiter) = (io(), io());
        let memory = Arc::clone(holder.registration.memory());
        let (mut read, other) = (started(), started());
        read.grow_to(1 << 20, memory.try_reserve(1 << 20).expect("it is free"));
        scope(|threads| {
            threads.spawn(|| {
                let reserve = async { memory.reserve(1, memory.newcomer_share(0).await).await };
                let reserved = block_on(wait_for_memory(&mut waiter, &other, reserve));
                assert!(reserved.is_ok());
            });
            block_on(poll_fn(|cx| {
                assert!(holder.poll_memory_deadline(&read, cx).is_pending());
                // If so, the wait has a shorter limit.
                if holder.clocks.memory.is_some() {
                    return Poll::Ready(());
                }
                Poll::Pending
            }));
            drop(read);
        });
    });
}
