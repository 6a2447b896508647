//! The bytes of a connection: what arrived and was not read, what was said and not sent.

mod frames;
mod lease;
mod pool;
mod read;
mod write;

pub(crate) use frames::Frames;
pub(crate) use lease::{Buffers, Lease};
pub(crate) use read::ReadBuffer;
pub(crate) use write::{Unusual, WriteBuffer};
