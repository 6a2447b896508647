//! The further messages of a request, between the loop of the connection and the function.

use std::mem::{replace, swap, take};

use tokio::sync::Notify;

use crate::{
    buffer::Messages,
    panics::lock,
    sync::{Mutex, MutexGuard},
};

/// What the function waits for, and what the loop has found of it.
///
/// The loop parses and reads nothing for a function that does not ask.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    inner: Mutex<Inner>,
    /// Notified when something is found, or the end.
    found: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// What the function waits for, or has waited for: a message for a wait that was dropped is found for the next one.
    demand: Option<Demand>,
    /// Whether the function waits now.
    is_awaited: bool,
    /// Whether the function has what asks for messages and blocks.
    has_receiver: bool,
    found: Found,
}

/// What a function waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Messages,
    /// At most this many bytes, without a frame.
    Bytes(usize),
}

/// What the loop has found, and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) messages: Messages,
    /// Why there is nothing after them.
    pub(crate) end: Option<ChunksEnd>,
    /// How many bytes must be dropped before anything else.
    pub(crate) skip: usize,
    /// How many bytes of the block that the function receives are not found yet.
    pub(super) block: usize,
    /// Whether chunks of this request were announced. Stays so after their end.
    pub(crate) is_announced: bool,
}

impl Found {
    /// Begins a block of `length` bytes. What is left of the one before is dropped.
    const fn begin_block(&mut self, length: usize) {
        self.skip = self.skip.saturating_add(replace(&mut self.block, length));
    }
}

/// Why there is nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunksEnd {
    /// All of it has arrived.
    Complete,
    Failed(String),
}

/// The wait of a function, which is recorded with its demand. It ends as well if the function drops it and works on.
struct Wait<'a>(&'a Chunks);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.lock().is_awaited = false;
    }
}

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Records that the function may ask for messages and blocks.
    pub(super) fn add_receiver(&self) {
        self.lock().has_receiver = true;
    }

    /// Waits until `batch` has some of what is demanded. Returns why not if nothing more will come.
    pub(super) async fn receive(
        &self,
        demand: Demand,
        batch: &mut Messages,
    ) -> Result<(), ChunksEnd> {
        loop {
            let notified = self.found.notified();
            if let Some(received) = self.lock().receive(demand, batch) {
                return received;
            }
            let _wait = Wait(self);
            notified.await;
        }
    }

    /// Begins a block of `length` bytes. What is left of the one before is dropped, and so is the message of a `next`
    /// that was dropped. After the end, there is none, and between chunks that are announced, this does nothing.
    pub(super) fn begin_block(&self, length: usize) {
        let mut inner = self.lock();
        if inner.found.is_announced {
            return;
        }
        inner.demand = None;
        inner.found.messages.clear();
        let length = if inner.found.end.is_some() { 0 } else { length };
        inner.found.begin_block(length);
    }

    /// Returns what the function waits for, and how far the loop has come. The loop adds what it finds, and
    /// [gives](Self::give) it.
    pub(crate) fn demand(&self) -> Option<(Demand, Found)> {
        let mut inner = self.lock();
        let demand = inner.demand?;
        let mut messages = take(&mut inner.found.messages);
        messages.clear();
        let found = Found {
            messages,
            end: None,
            ..inner.found
        };
        Some((demand, found))
    }

    /// Returns `true` if the function waits now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().is_awaited
    }

    /// Returns how many of the next bytes belong to blocks, and are no frames.
    pub(crate) fn rest_of_blocks(&self) -> usize {
        let inner = self.lock();
        inner.found.skip.saturating_add(inner.found.block)
    }

    /// Returns `true` if the next bytes belong to a block, or may belong to one: the function has not asked for messages
    /// yet, and nothing has announced some. They may look like a notice then.
    pub(crate) fn may_be_block(&self) -> bool {
        let inner = self.lock();
        let Found {
            end,
            skip,
            block,
            is_announced,
            ..
        } = &inner.found;
        let has_frames = *is_announced || end.is_some() || inner.demand == Some(Demand::Messages);
        *skip > 0 || *block > 0 || inner.has_receiver && !has_frames
    }

    /// Gives the function messages, or the end. Without both, the function goes on waiting.
    ///
    /// Returns `true` if the function need not wait any more.
    pub(crate) fn give(&self, mut found: Found) -> bool {
        let mut inner = self.lock();
        let is_found = !found.messages.is_empty() || found.end.is_some();
        if found.end.is_some() {
            found.block = 0;
        } else if let Some(Demand::Bytes(_)) = inner.demand {
            found.block = found.block.saturating_sub(found.messages.byte_len());
        }
        inner.found = found;
        if is_found {
            inner.demand = None;
            drop(inner);
            self.found.notify_waiters();
        }
        is_found
    }

    /// Forgets all of a request. Returns how many bytes are to be dropped before the next one.
    pub(crate) fn reset(&self) -> usize {
        let mut found = take(&mut *self.lock()).found;
        found.begin_block(0);
        found.skip
    }
}

impl Inner {
    /// Fills `batch` with what was found. If that is nothing, records the demand, and that the function waits.
    fn receive(&mut self, demand: Demand, batch: &mut Messages) -> Option<Result<(), ChunksEnd>> {
        let Found {
            messages,
            end,
            is_announced,
            ..
        } = &mut self.found;
        if *is_announced && demand != Demand::Messages {
            // They were parsed together, including those after the one that the function has received last.
            let text = "chunks that are announced have no block between them";
            return Some(Err(ChunksEnd::Failed(text.to_owned())));
        }
        if !messages.is_empty() {
            batch.clear();
            swap(messages, batch);
            return Some(Ok(()));
        }
        if let Some(end) = end {
            return Some(Err(end.clone()));
        }
        self.demand = Some(demand);
        self.is_awaited = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn receive(chunks: &Chunks, demand: Demand) -> Poll<Result<Vec<u8>, ChunksEnd>> {
        let mut batch = Messages::default();
        let received =
            pin!(chunks.receive(demand, &mut batch)).poll(&mut Context::from_waker(Waker::noop()));
        received.map_ok(|()| batch.next().unwrap_or_default().to_vec())
    }

    fn give(chunks: &Chunks, message: &str, end: Option<ChunksEnd>) -> bool {
        let (_, mut found) = chunks.demand().expect("it waits");
        if !message.is_empty() {
            found.messages.push(message.as_bytes());
        }
        found.end = end;
        chunks.give(found)
    }

    #[test]
    fn nothing_is_looked_for_until_the_function_asks_and_until_it_asks_again() {
        let chunks = Chunks::default();
        assert!(chunks.demand().is_none());
        assert!(receive(&chunks, Demand::Messages).is_pending());
        // Nothing has come.
        assert!(!give(&chunks, "", None) && chunks.demand().is_some());
        assert!(give(&chunks, "a", None) && chunks.demand().is_none());
        let received = receive(&chunks, Demand::Messages);
        assert_eq!(received, Poll::Ready(Ok(b"a".to_vec())));
        assert!(receive(&chunks, Demand::Messages).is_pending());
    }

    #[test]
    fn function_waits_until_its_wait_ends_or_is_dropped() {
        let chunks = Chunks::default();
        let mut batch = Messages::default();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut waiting = pin!(chunks.receive(Demand::Messages, &mut batch));
            assert!(!chunks.is_awaited());
            assert!(waiting.as_mut().poll(&mut cx).is_pending() && chunks.is_awaited());
        }
        assert!(!chunks.is_awaited() && chunks.demand().is_some());
        let mut waiting = pin!(chunks.receive(Demand::Messages, &mut batch));
        assert!(waiting.as_mut().poll(&mut cx).is_pending() && chunks.is_awaited());
        assert!(give(&chunks, "a", None));
        assert!(waiting.as_mut().poll(&mut cx).is_ready() && !chunks.is_awaited());
    }

    #[test]
    fn what_has_come_is_received_before_the_end_which_stays() {
        let chunks = Chunks::default();
        assert!(receive(&chunks, Demand::Messages).is_pending());
        assert!(give(&chunks, "last", Some(ChunksEnd::Complete)));
        let received = receive(&chunks, Demand::Messages);
        assert_eq!(received, Poll::Ready(Ok(b"last".to_vec())));
        for _ in 0..2 {
            let received = receive(&chunks, Demand::Messages);
            assert_eq!(received, Poll::Ready(Err(ChunksEnd::Complete)));
        }
        assert_eq!(chunks.reset(), 0);
        assert!(receive(&chunks, Demand::Messages).is_pending());
    }

    #[test]
    fn block_after_the_end_has_nothing_to_drop() {
        for end in [ChunksEnd::Complete, ChunksEnd::Failed("why".to_owned())] {
            let chunks = Chunks::default();
            assert!(receive(&chunks, Demand::Messages).is_pending());
            assert!(give(&chunks, "", Some(end.clone())));
            chunks.begin_block(10);
            assert_eq!(
                receive(&chunks, Demand::Bytes(10)),
                Poll::Ready(Err(end.clone()))
            );
            assert_eq!(chunks.reset(), 0, "{end:?}");
        }
    }

    #[test]
    fn chunks_that_are_announced_have_no_block_between_them() {
        let chunks = Chunks::default();
        assert!(receive(&chunks, Demand::Messages).is_pending());
        let (_, mut found) = chunks.demand().expect("it waits");
        found.messages.push(b"a");
        found.is_announced = true;
        assert!(chunks.give(found));
        chunks.begin_block(10);
        let Poll::Ready(Err(ChunksEnd::Failed(_))) = receive(&chunks, Demand::Bytes(10)) else {
            panic!("the chunk is taken for a block");
        };
        chunks.begin_block(0);
        let received = receive(&chunks, Demand::Messages);
        assert_eq!(received, Poll::Ready(Ok(b"a".to_vec())));
        assert_eq!(chunks.reset(), 0);
    }

    #[test]
    fn rest_of_a_block_is_dropped() {
        let chunks = Chunks::default();
        chunks.begin_block(10);
        assert!(receive(&chunks, Demand::Bytes(10)).is_pending());
        assert!(give(&chunks, "1234", None));
        // The function drops the block, with what it did not receive.
        chunks.begin_block(0);
        assert!(receive(&chunks, Demand::Messages).is_pending());
        let (demand, found) = chunks.demand().expect("it waits");
        assert_eq!((demand, found.skip), (Demand::Messages, 6));
        assert!(!chunks.give(found));
        assert_eq!(chunks.reset(), 6);
        chunks.begin_block(3);
        assert_eq!(chunks.reset(), 3);
    }
}
