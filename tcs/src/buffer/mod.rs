//! The bytes of a connection: what arrived and was not read, what was said and not sent.

mod inbox;
mod outbox;
mod pool;

pub(crate) use inbox::Inbox;
pub(crate) use outbox::{Outbox, Unusual};
