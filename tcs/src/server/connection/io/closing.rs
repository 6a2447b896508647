//! Closes a connection so that the peer receives what was sent.

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio::{
    io::AsyncWrite as _,
    task::{coop, yield_now},
};

use super::{super::end::End, Io};
use crate::{
    buffer::{BufferSlot, Buffers},
    runtime::wake_after_others,
    server::time::Deadline,
};

/// How many reads of a closing connection are discarded within one poll.
const LINGER_READS: usize = 16;

impl Io {
    /// Flushes the write buffer, and closes the stream so that the peer receives it. The connection is idle if it
    /// waited for a request and nothing of it has arrived.
    pub(in crate::server::connection) async fn close(
        &mut self,
        slot: &mut BufferSlot,
        is_idle: bool,
    ) -> Result<(), End> {
        if is_idle {
            // Otherwise tokio may not know yet that a request has arrived. A socket that is closed with
            // unread bytes is reset, and the peer would lose what is sent here.
            yield_now().await;
        }
        // The input is not needed while the peer reads the rest.
        let has_ended = slot.checkout().read.has_ended();
        slot.clear_received();
        poll_fn(|cx| self.poll_flush_in_time(&mut slot.checkout().write, cx)).await?;
        if has_ended && self.stream.closes_on_drop() {
            return Ok(());
        }
        self.shutdown().await;
        if !has_ended && !self.registration.limits().linger.is_zero() {
            self.linger(slot, is_idle).await;
        }
        Ok(())
    }

    /// Closes the sending half.
    async fn shutdown(&mut self) {
        let limit = self.registration.limits().write_timeout;
        let deadline = Deadline::after(self.now(), limit);
        poll_fn(|cx| match Pin::new(&mut self.stream).poll_shutdown(cx) {
            // An error says that the peer is gone.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.poll_deadline(deadline, cx).map(drop),
        })
        .await;
    }

    /// Waits until the peer closes, and drops what it sends. Does not wait if the connection was idle, nothing
    /// has arrived since, and the peer has what was sent before.
    ///
    /// A socket that is closed with unread input is reset, which can destroy replies that the peer has
    /// not read yet (RFC 1122, section 4.2.2.13).
    async fn linger(&mut self, slot: &mut BufferSlot, is_idle: bool) {
        let limit = self.registration.limits().linger;
        let deadline = Deadline::after(self.now(), limit);
        let sent_by = self.clocks.delivery_deadline(limit);
        let is_delivered = sent_by.is_none_or(|deadline| self.has_passed(deadline));
        let mut may_leave = is_idle && is_delivered;
        poll_fn(|cx| {
            let Buffers { read, ahead, .. } = slot.checkout();
            for _ in 0..LINGER_READS {
                read.clear();
                match read.poll_read(ahead, cx, &mut self.stream) {
                    Poll::Ready(Ok(_)) if !read.has_ended() => may_leave = false,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending if may_leave && coop::has_budget_remaining() => {
                        return Poll::Ready(());
                    }
                    Poll::Pending => {
                        slot.release();
                        return self.poll_deadline(deadline, cx).map(drop);
                    }
                }
            }
            // A peer that never stops sending does not extend the wait, or keep other tasks waiting.
            wake_after_others(cx);
            self.poll_deadline(deadline, cx).map(drop)
        })
        .await;
    }
}
