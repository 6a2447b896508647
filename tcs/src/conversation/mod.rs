//! What a function and its peer send each other in addition to a request and its reply.
//!
//! Only the loop of the connection polls the stream, and only it knows the framing. A function, and whoever else has a
//! handle, leaves encoded messages here, without their frames. The loop takes them, frames them and sends them:
//!
//! | part | written by | the loop takes it |
//! |---|---|---|
//! | [`Push`]: a [`PushQueue`] of events | anyone, at any time | before it waits for a request, and while a function waits |
//! | [`Replies`]: [`StagedItems`] | the function | while the function waits, and before its reply |
//! | [`Requests`]: [`Chunks`] | the loop, while the function waits for them | – |
//! | [`Credit`] for items, where requests have ids | the loop, for notices of the client | before it polls the function |
//! | [`Closed`] | the loop | – |
//! | [`LentFraming`] | the function, which changes a copy | after the reply |
//!
//! A connection has a [`Conversation`] only once one of these parts is used. Other connections pay for one pointer, and
//! for its test before a wait.

mod chunks;
mod closed;
mod credit;
mod encode;
mod lent_framing;
#[cfg(test)]
mod models;
mod push;
mod push_group;
mod push_groups;
mod push_queue;
mod replies;
mod requests;
mod staged_items;
mod test_connection;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Notify;

pub(crate) use chunks::{Chunks, ChunksEnd, Demand, Progress};
pub use closed::Closed;
use credit::Credit;
use encode::encode;
use lent_framing::FramingSlot;
pub use lent_framing::{CloneFraming, LentFraming};
pub use push::{Push, Pushes};
pub use push_group::PushGroup;
pub use push_groups::PushGroups;
pub(crate) use push_queue::PushQueue;
pub use push_queue::{PushError, PushOverflow};
pub use replies::{Replies, SendError, Streams};
pub use requests::{Body, ReceiveError, Receives, Requests};
use staged_items::StagedItems;
pub use test_connection::TestConnection;

use crate::{
    buffer::MemoryBudget,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What one connection has beside its requests and replies. Requests that are processed at the same time have a
/// conversation each, and share `connection`.
#[derive(Debug)]
pub(crate) struct Conversation {
    connection: Arc<ConnectionState>,
    pub(crate) items: StagedItems,
    /// The credit of requests in sequence. Requests that are processed at the same time have their credit in their slots.
    pub(crate) credit: Credit,
    pub(crate) chunks: Chunks,
    pub(crate) framing: FramingSlot,
}

/// What belongs to the connection, and not to a request.
#[derive(Debug)]
struct ConnectionState {
    limits: ConversationLimits,
    pushes: OnceLock<Arc<PushQueue>>,
    /// Whether the peer has closed its sending half, or the connection is gone.
    is_closed: AtomicBool,
    /// Notified when `is_closed` is set.
    closed: Notify,
    /// The idle timeout of this connection in milliseconds, or [`DEFAULT_IDLE`].
    idle: AtomicU64,
}

/// The connection has the idle timeout of its server.
const DEFAULT_IDLE: u64 = 0;

/// The limits of messages beside requests and replies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConversationLimits {
    /// The maximum length of an event or an item.
    pub(crate) message_len: usize,
    /// How many bytes of events may wait.
    pub(crate) push_queue: usize,
    pub(crate) push_overflow: PushOverflow,
}

impl ConversationLimits {
    /// The limits of a server by default, and those without a server.
    pub(crate) const DEFAULT: Self = Self {
        message_len: 8 << 20,
        push_queue: 64 << 10,
        push_overflow: PushOverflow::Reject,
    };
}

impl Conversation {
    pub(crate) fn new(limits: ConversationLimits) -> Self {
        Self::of(Arc::new(ConnectionState {
            limits,
            pushes: OnceLock::new(),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
            idle: AtomicU64::new(DEFAULT_IDLE),
        }))
    }

    fn of(connection: Arc<ConnectionState>) -> Self {
        Self {
            connection,
            items: StagedItems::default(),
            credit: Credit::default(),
            chunks: Chunks::default(),
            framing: FramingSlot::default(),
        }
    }

    /// Creates the conversation of another request of the same connection.
    pub(crate) fn share(&self) -> Self {
        let other = Self::of(Arc::clone(&self.connection));
        other.refuse_chunks();
        other
    }

    /// Reports to the function that it cannot receive chunks.
    pub(crate) fn refuse_chunks(&self) {
        let why = "requests are processed at the same time, and chunks are for one";
        self.chunks.give(Progress {
            end: Some(ChunksEnd::Failed(why.to_owned())),
            ..Progress::default()
        });
    }

    /// Returns the queue of events, if there is one.
    pub(crate) fn pushes(&self) -> Option<&PushQueue> {
        self.connection.pushes.get().map(|queue| &**queue)
    }

    fn push_queue(&self, memory: &Arc<MemoryBudget>) -> &Arc<PushQueue> {
        let new = || Arc::new(PushQueue::new(self.connection.limits, Arc::clone(memory)));
        self.connection.pushes.get_or_init(new)
    }

    /// Ends an answered request, whose function may have used this.
    pub(crate) fn end_request(&self) {
        // All items are framed. Their memory is freed, because the connection may be idle next.
        drop(self.items.take());
        self.credit.restart();
        if let Some(queue) = self.pushes() {
            queue.end_request();
        }
    }

    /// Tells the function that the peer has closed its sending half.
    pub(crate) fn close(&self) {
        if !self.connection.is_closed.swap(true, Ordering::AcqRel) {
            self.connection.closed.notify_waiters();
        }
    }

    /// Sets the idle timeout of this connection. A longer one than can be stored is as good as none.
    pub(crate) fn set_idle_timeout(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.connection.idle.store(limit.max(1), Ordering::Relaxed);
    }

    /// Returns the idle timeout of this connection in milliseconds, if it has one of its own.
    pub(crate) fn idle_timeout(&self) -> Option<u64> {
        let limit = self.connection.idle.load(Ordering::Relaxed);
        (limit != DEFAULT_IDLE).then_some(limit)
    }
}

/// Tells the handles that the connection is gone.
impl Drop for ConnectionState {
    fn drop(&mut self) {
        if let Some(queue) = self.pushes.get() {
            let _: u64 = queue.close();
        }
    }
}

/// For functions whose error is a text.
macro_rules! into_text {
    ($($error:ty)*) => {$(
        impl From<$error> for String {
            fn from(error: $error) -> Self {
                error.to_string()
            }
        }
    )*};
}

into_text! { PushError ReceiveError SendError }
