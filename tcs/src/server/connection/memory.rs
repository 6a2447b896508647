//! Reserves memory for large frames.

use std::{future::poll_fn, mem::replace, pin::pin, sync::Arc, task::Poll};

use super::{end::Interrupt, io::Io, rejections::memory_in_use};
use crate::{
    buffer::ReadBuffer,
    framing::{ConnectionFraming, Framing, Side},
};

/// Reserves memory for the frame in the read buffer, once for all of it. `limit` is `max_frame_len`.
pub(super) async fn reserve_memory<F: Framing>(
    io: &mut Io,
    read: &mut ReadBuffer,
    framing: &mut ConnectionFraming<F>,
    limit: usize,
) -> Result<(), Interrupt> {
    let unread = read.input(limit, Side::Server).bytes();
    let (arrived, length) = (unread.len(), framing.frame_len_bound(unread, limit));
    let memory = Arc::clone(io.registration.memory());
    let is_newcomer = io.registration.tally().received() == 0;
    // The buffer has the memory of the frame before, or this frame is longer than it claimed. Waiting while it holds memory
    // could deadlock.
    if read.has_reserved() || length <= arrived {
        let length = length.max(arrived.saturating_mul(2));
        let reserved = memory.try_reserve(length - arrived);
        read.grow_to(length, reserved.ok_or_else(memory_in_use)?);
    } else {
        let share = memory.newcomer_share(if is_newcomer { length } else { 0 });
        let share = wait_for_memory(io, read, share).await?;
        let reserved = wait_for_memory(io, read, memory.reserve(length, share)).await?;
        read.grow_to(length, reserved);
    }
    Ok(())
}

/// Waits for memory for the rest of the frame in `read`, unless the connection must stop waiting.
pub(super) async fn wait_for_memory<T>(
    io: &mut Io,
    read: &ReadBuffer,
    reserving: impl Future<Output = T>,
) -> Result<T, Interrupt> {
    let mut reserving = pin!(reserving);
    let mut has_waited = false;
    poll_fn(|cx| match reserving.as_mut().poll(cx) {
        Poll::Ready(reserved) => Poll::Ready(Ok(reserved)),
        Poll::Pending => {
            if !replace(&mut has_waited, true) {
                // From now on, connections that hold memory have less time.
                io.registration.begin_memory_wait();
            }
            io.poll_memory_deadline(read, cx).map(Err)
        }
    })
    .await
}
