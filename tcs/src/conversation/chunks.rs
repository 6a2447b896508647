//! The chunks of a request, between the loop of the connection and the function.

use std::mem::{replace, swap, take};

use tokio::sync::Notify;

use crate::{
    buffer::Messages,
    panics::lock,
    sync::{Mutex, MutexGuard},
};

/// The chunk or the block that the function waits for, and what the loop has found of it.
///
/// The loop parses and reads nothing for a function that does not ask.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    inner: Mutex<Inner>,
    /// Notified when the loop has found what the function waits for, or the end.
    found: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// What the function waits for, or has waited for: a chunk for a wait that was dropped is kept for the next wait.
    demand: Option<Demand>,
    /// Whether the function waits now.
    is_awaited: bool,
    /// Whether the function has a `Requests`, which asks for chunks and blocks.
    has_receiver: bool,
    progress: Progress,
}

/// What a function waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Chunks,
    /// At most this many bytes, without a frame.
    Bytes(usize),
}

/// What the loop has found, and how far it has searched.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) messages: Messages,
    /// Why nothing comes after `messages`.
    pub(crate) end: Option<ChunksEnd>,
    /// How many bytes the loop must drop before it searches on.
    pub(crate) skip: usize,
    /// How many bytes of the block that the function receives are not found yet.
    pub(super) block: usize,
    /// Whether chunks of this request were announced. Stays `true` after their end.
    pub(crate) is_announced: bool,
}

impl Progress {
    /// Begins a block of `length` bytes. Drops the rest of the block before.
    const fn begin_block(&mut self, length: usize) {
        self.skip = self.skip.saturating_add(replace(&mut self.block, length));
    }
}

/// Why a request has no more chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunksEnd {
    /// The request has arrived completely.
    Complete,
    Failed(String),
}

/// The wait of a function, which is recorded with its demand. A drop ends the wait, too, while the function works on.
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

    /// Records that the function may ask for chunks and blocks.
    pub(super) fn add_receiver(&self) {
        self.lock().has_receiver = true;
    }

    /// Waits until `batch` has some of what is demanded. Returns an error if nothing more will come.
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

    /// Begins a block of `length` bytes. Drops the rest of the block before, and the chunk of a `next` that was dropped.
    /// After the end, the block is empty. Between announced chunks, this does nothing.
    pub(super) fn begin_block(&self, length: usize) {
        let mut inner = self.lock();
        if inner.progress.is_announced {
            return;
        }
        inner.demand = None;
        inner.progress.messages.clear();
        let length = if inner.progress.end.is_some() {
            0
        } else {
            length
        };
        inner.progress.begin_block(length);
    }

    /// Returns what the function waits for, and how far the loop has searched. The loop adds what it finds, and
    /// [gives](Self::give) the result to the function.
    pub(crate) fn begin_search(&self) -> Option<(Demand, Progress)> {
        let mut inner = self.lock();
        let demand = inner.demand?;
        let mut messages = take(&mut inner.progress.messages);
        messages.clear();
        let progress = Progress {
            messages,
            end: None,
            ..inner.progress
        };
        Some((demand, progress))
    }

    /// Returns `true` if the function waits now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().is_awaited
    }

    /// Returns how many of the next bytes belong to blocks, and are not frames.
    pub(crate) fn rest_of_blocks(&self) -> usize {
        let inner = self.lock();
        inner.progress.skip.saturating_add(inner.progress.block)
    }

    /// Returns `true` if the next bytes belong to a block, or may belong to one: the function has not asked for chunks
    /// yet, and none were announced. The bytes of a block may look like a notice.
    pub(crate) fn may_be_block(&self) -> bool {
        let inner = self.lock();
        let Progress {
            end,
            skip,
            block,
            is_announced,
            ..
        } = &inner.progress;
        let has_frames = *is_announced || end.is_some() || inner.demand == Some(Demand::Chunks);
        *skip > 0 || *block > 0 || inner.has_receiver && !has_frames
    }

    /// Gives the function chunks, a piece of a block, or the end. Without any of them, the function still waits.
    ///
    /// Returns `true` if the function has something to receive.
    pub(crate) fn give(&self, mut progress: Progress) -> bool {
        let mut inner = self.lock();
        let is_found = !progress.messages.is_empty() || progress.end.is_some();
        if progress.end.is_some() {
            progress.block = 0;
        } else if let Some(Demand::Bytes(_)) = inner.demand {
            progress.block = progress.block.saturating_sub(progress.messages.byte_len());
        }
        inner.progress = progress;
        if is_found {
            inner.demand = None;
            drop(inner);
            self.found.notify_waiters();
        }
        is_found
    }

    /// Forgets the request. Returns how many bytes must be dropped before the next request.
    pub(crate) fn reset(&self) -> usize {
        let mut progress = take(&mut *self.lock()).progress;
        progress.begin_block(0);
        progress.skip
    }
}

impl Inner {
    /// Fills `batch` with what was found. If nothing was found, records the demand, and that the function waits.
    fn receive(&mut self, demand: Demand, batch: &mut Messages) -> Option<Result<(), ChunksEnd>> {
        let Progress {
            messages,
            end,
            is_announced,
            ..
        } = &mut self.progress;
        if *is_announced && demand != Demand::Chunks {
            // Announced chunks are parsed together, even those after the chunk that the function has received last.
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
        let (_, mut progress) = chunks.begin_search().expect("it waits");
        if !message.is_empty() {
            progress.messages.push(message.as_bytes());
        }
        progress.end = end;
        chunks.give(progress)
    }

    #[test]
    fn nothing_is_looked_for_until_the_function_asks_and_until_it_asks_again() {
        let chunks = Chunks::default();
        assert!(chunks.begin_search().is_none());
        assert!(receive(&chunks, Demand::Chunks).is_pending());
        // Nothing was found.
        assert!(!give(&chunks, "", None) && chunks.begin_search().is_some());
        assert!(give(&chunks, "a", None) && chunks.begin_search().is_none());
        let received = receive(&chunks, Demand::Chunks);
        assert_eq!(received, Poll::Ready(Ok(b"a".to_vec())));
        assert!(receive(&chunks, Demand::Chunks).is_pending());
    }

    #[test]
    fn function_waits_until_its_wait_ends_or_is_dropped() {
        let chunks = Chunks::default();
        let mut batch = Messages::default();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut waiting = pin!(chunks.receive(Demand::Chunks, &mut batch));
            assert!(!chunks.is_awaited());
            assert!(waiting.as_mut().poll(&mut cx).is_pending() && chunks.is_awaited());
        }
        assert!(!chunks.is_awaited() && chunks.begin_search().is_some());
        let mut waiting = pin!(chunks.receive(Demand::Chunks, &mut batch));
        assert!(waiting.as_mut().poll(&mut cx).is_pending() && chunks.is_awaited());
        assert!(give(&chunks, "a", None));
        assert!(waiting.as_mut().poll(&mut cx).is_ready() && !chunks.is_awaited());
    }

    #[test]
    fn what_has_come_is_received_before_the_end_which_stays() {
        let chunks = Chunks::default();
        assert!(receive(&chunks, Demand::Chunks).is_pending());
        assert!(give(&chunks, "last", Some(ChunksEnd::Complete)));
        let received = receive(&chunks, Demand::Chunks);
        assert_eq!(received, Poll::Ready(Ok(b"last".to_vec())));
        for _ in 0..2 {
            let received = receive(&chunks, Demand::Chunks);
            assert_eq!(received, Poll::Ready(Err(ChunksEnd::Complete)));
        }
        assert_eq!(chunks.reset(), 0);
        assert!(receive(&chunks, Demand::Chunks).is_pending());
    }

    #[test]
    fn block_after_the_end_has_nothing_to_drop() {
        for end in [ChunksEnd::Complete, ChunksEnd::Failed("why".to_owned())] {
            let chunks = Chunks::default();
            assert!(receive(&chunks, Demand::Chunks).is_pending());
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
        assert!(receive(&chunks, Demand::Chunks).is_pending());
        let (_, mut progress) = chunks.begin_search().expect("it waits");
        progress.messages.push(b"a");
        progress.is_announced = true;
        assert!(chunks.give(progress));
        chunks.begin_block(10);
        let Poll::Ready(Err(ChunksEnd::Failed(_))) = receive(&chunks, Demand::Bytes(10)) else {
            panic!("the chunk is taken for a block");
        };
        chunks.begin_block(0);
        let received = receive(&chunks, Demand::Chunks);
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
        assert!(receive(&chunks, Demand::Chunks).is_pending());
        let (demand, progress) = chunks.begin_search().expect("it waits");
        assert_eq!((demand, progress.skip), (Demand::Chunks, 6));
        assert!(!chunks.give(progress));
        assert_eq!(chunks.reset(), 6);
        chunks.begin_block(3);
        assert_eq!(chunks.reset(), 3);
    }
}
