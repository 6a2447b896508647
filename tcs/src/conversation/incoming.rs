//! The further messages of a request, between the loop of the connection and the function.

use std::{
    mem::take,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// What the function waits for, and what the loop has found of it.
///
/// The loop parses and reads nothing for a function that does not ask.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    wanted: Option<Wanted>,
    found: Chunks,
    end: Option<ChunksEnd>,
    /// How many bytes the loop must drop before anything else.
    skip: usize,
    /// How many bytes of the block that the function receives are not found yet.
    block: usize,
    /// Those who wait. A function may wait in several futures, with wakers of their own.
    waiting: Vec<Waker>,
}

/// What a function waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Messages,
    /// Bytes without a frame, at most so many.
    Bytes(usize),
}

/// Why there is nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunksEnd {
    /// All of it has arrived.
    Complete,
    Failed(String),
}

/// Messages without frames, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    bytes: Vec<u8>,
    /// Where each message ends.
    ends: Vec<usize>,
    /// How many of them were taken, and where the next one begins.
    taken: usize,
    start: usize,
}

impl Chunks {
    pub(crate) fn push(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.ends.push(self.bytes.len());
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns `true` if all messages were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.ends.len()
    }

    /// Takes the next message.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.taken)?;
        let message = self.bytes.get(self.start..end);
        self.taken += 1;
        self.start = end;
        message
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
        self.start = 0;
    }
}

impl Incoming {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `batch` has what is wanted. Returns why not if nothing more will come.
    pub(super) fn poll_found(
        &self,
        wanted: Wanted,
        batch: &mut Chunks,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ChunksEnd>> {
        let mut inner = self.lock();
        if !inner.found.is_empty() {
            batch.clear();
            std::mem::swap(&mut inner.found, batch);
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.wanted = Some(wanted);
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if !inner.waiting.iter().any(is_known) {
            inner.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Begins a block of so many bytes. What is left of the one before is dropped.
    pub(super) fn begin_block(&self, length: usize) {
        let mut inner = self.lock();
        // Of a `next` that was dropped: its message is no part of the block.
        inner.wanted = None;
        inner.found.clear();
        inner.skip = inner.skip.saturating_add(inner.block);
        inner.block = length;
    }

    /// Ends the block, of which the function may have left some.
    pub(super) fn end_block(&self) {
        let mut inner = self.lock();
        inner.found.clear();
        if inner
            .wanted
            .is_some_and(|wanted| wanted != Wanted::Messages)
        {
            inner.wanted = None;
        }
        drop(inner);
        self.begin_block(0);
    }

    /// Returns what the function waits for, and a batch to fill.
    pub(crate) fn take_wanted(&self) -> Option<(Wanted, Chunks)> {
        let mut inner = self.lock();
        let wanted = inner.wanted?;
        let mut batch = take(&mut inner.found);
        batch.clear();
        Some((wanted, batch))
    }

    /// Returns how many bytes are to be dropped first.
    pub(crate) fn skip(&self) -> usize {
        self.lock().skip
    }

    /// Notes that bytes were dropped, or that more must be.
    pub(crate) fn set_skip(&self, skip: usize) {
        self.lock().skip = skip;
    }

    /// Gives the function a batch, or nothing and why. Without both, the function goes on waiting.
    ///
    /// Returns `true` if the function need not wait any more.
    pub(crate) fn give(&self, batch: Chunks, end: Option<ChunksEnd>) -> bool {
        let mut inner = self.lock();
        let is_found = !batch.is_empty() || end.is_some();
        if let Some(Wanted::Bytes(_)) = inner.wanted {
            inner.block = inner.block.saturating_sub(batch.len());
        }
        inner.found = batch;
        if end.is_some() {
            inner.end = end;
        }
        if !is_found {
            return false;
        }
        inner.wanted = None;
        let waiting = take(&mut inner.waiting);
        drop(inner);
        // Without the lock, because wakers are foreign code.
        waiting.into_iter().for_each(Waker::wake);
        true
    }

    /// Forgets all of a request. Returns how many bytes are to be dropped before the next one.
    pub(crate) fn reset(&self) -> usize {
        let mut inner = self.lock();
        let rest = inner.skip.saturating_add(inner.block);
        *inner = Inner::default();
        rest
    }
}
