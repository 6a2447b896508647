//! The further messages of a request, between the loop of the connection and the function.

use std::{
    mem::{swap, take},
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::Messages;
use crate::panics::lock;

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
    demand: Option<Demand>,
    found: Messages,
    end: Option<ChunksEnd>,
    progress: Progress,
    /// How many bytes of the block that the function receives are not found yet.
    block: usize,
}

/// What a function waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Messages,
    /// Bytes without a frame, at most so many.
    Bytes(usize),
}

/// How far the loop has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// How many bytes must be dropped before anything else.
    pub(crate) skip: usize,
    /// Whether chunks were announced, and their end has not arrived.
    pub(crate) is_open: bool,
}

/// Why there is nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChunksEnd {
    /// All of it has arrived.
    Complete,
    Failed(String),
}

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
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
            notified.await;
        }
    }

    /// Begins a block of `length` bytes. What is left of the one before is dropped, and so is the message of a `next`
    /// that was dropped.
    pub(super) fn begin_block(&self, length: usize) {
        let mut inner = self.lock();
        inner.demand = None;
        inner.found.clear();
        inner.progress.skip = inner.progress.skip.saturating_add(inner.block);
        inner.block = length;
    }

    /// Returns what the function waits for, with a batch to fill, and how far the loop has come. It then calls
    /// [`give`](Self::give).
    pub(crate) fn demand(&self) -> Option<(Demand, Messages, Progress)> {
        let mut inner = self.lock();
        let demand = inner.demand?;
        let mut batch = take(&mut inner.found);
        batch.clear();
        Some((demand, batch, inner.progress))
    }

    /// Gives the function a batch, or nothing and why. Without both, the function goes on waiting.
    ///
    /// Returns `true` if the function need not wait any more.
    pub(crate) fn give(&self, batch: Messages, end: Option<ChunksEnd>, progress: Progress) -> bool {
        let mut inner = self.lock();
        let is_found = !batch.is_empty() || end.is_some();
        if let Some(Demand::Bytes(_)) = inner.demand {
            inner.block = inner.block.saturating_sub(batch.len());
        }
        inner.progress = progress;
        inner.found = batch;
        if end.is_some() {
            inner.end = end;
        }
        if is_found {
            inner.demand = None;
            drop(inner);
            self.found.notify_waiters();
        }
        is_found
    }

    /// Forgets all of a request. Returns how many bytes are to be dropped before the next one.
    pub(crate) fn reset(&self) -> usize {
        let Inner {
            progress, block, ..
        } = take(&mut *self.lock());
        progress.skip.saturating_add(block)
    }
}

impl Inner {
    /// Fills `batch` with what was found. Notes the demand if that is nothing.
    fn receive(&mut self, demand: Demand, batch: &mut Messages) -> Option<Result<(), ChunksEnd>> {
        if !self.found.is_empty() {
            batch.clear();
            swap(&mut self.found, batch);
            return Some(Ok(()));
        }
        if let Some(end) = &self.end {
            return Some(Err(end.clone()));
        }
        self.demand = Some(demand);
        None
    }
}
