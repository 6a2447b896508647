//! The bytes of a connection: what has arrived and is not consumed, what is written and not sent.

mod pool;
mod read;
mod write;

pub(crate) use pool::{BufferSlot, Buffers};
pub(crate) use read::{Frames, ReadAhead, ReadBuffer};
pub(crate) use write::{Unusual, WriteBuffer};
