//! A reply, and the buffer that each thread keeps for the next one.

use std::{cell::Cell, mem::take, sync::Arc};

use super::subchannel::Subchannel;
use crate::{
    Error, Peer, Result,
    client::fault::{Fault, OUT_OF_SYNC},
    format::{Decode, Frame},
    framing::Framing,
    protocol::CallOwned,
};

/// The largest capacity that is kept. The buffer of a larger reply is freed with it.
const MAX_SPARE: usize = 4 * 1024;

thread_local! {
    /// The buffer of the last reply that was read on this thread.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A reply, and the connection that it comes from. When it is dropped, its buffer becomes the spare one of the thread.
pub(super) struct Reply<'s, F: Framing> {
    pub(super) bytes: Vec<u8>,
    pub(super) subchannel: &'s Subchannel<F>,
    /// Which connection of the subchannel it is.
    pub(super) generation: u64,
    /// Whether it may be the reply to another request. Dropping it then ends the connection.
    pub(super) is_out_of_sync: bool,
}

impl<F: Framing> Reply<'_, F> {
    /// Decodes the reply, which may also borrow what its format writes to `scratch`.
    pub(super) fn decode<'a, Format, T>(&'a self, scratch: &'a mut Vec<u8>) -> Result<T>
    where
        T: Decode<'a, Format>,
    {
        let frame = Frame::new(&self.bytes).with_scratch(scratch);
        T::decode(frame).map_err(|source| Error::decode(&self.peer(), source))
    }

    /// Decodes the reply to a value that borrows nothing.
    pub(super) fn decode_owned<P: CallOwned>(&self) -> Result<P::Owned> {
        let frame = Frame::new(&self.bytes);
        P::decode_owned(frame).map_err(|source| Error::decode(&self.peer(), source))
    }

    pub(super) fn peer(&self) -> Peer {
        self.subchannel.lock().peer_of(self.generation)
    }

    #[cold]
    fn end_connection(&self) {
        let fault = Arc::new(Fault::Broken(OUT_OF_SYNC));
        let mut state = self.subchannel.lock();
        state.end_with(self.generation, fault);
        Subchannel::unlock_and_wake_driver(state);
    }
}

impl<F: Framing> Drop for Reply<'_, F> {
    #[inline]
    fn drop(&mut self) {
        if self.is_out_of_sync {
            self.end_connection();
        }
        give_spare(take(&mut self.bytes));
    }
}

/// Takes the spare buffer of the thread, or a new one. The buffer is empty.
#[inline]
pub(super) fn take_spare() -> Vec<u8> {
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    spare.clear();
    spare
}

/// Makes a buffer the spare one of the thread, unless it is large.
#[inline]
pub(super) fn give_spare(buffer: Vec<u8>) {
    if (1..=MAX_SPARE).contains(&buffer.capacity()) {
        // At the end of a thread there may be no spare buffer any more.
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}
