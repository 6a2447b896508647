//! The bytes of a connection: what arrived and was not read, what was said and not sent.

mod frames;
mod inbox;
mod lease;
mod outbox;
mod pool;

pub(crate) use frames::Frames;
pub(crate) use inbox::Inbox;
pub(crate) use lease::{Buffers, Lease};
pub(crate) use outbox::{Outbox, Unusual};
