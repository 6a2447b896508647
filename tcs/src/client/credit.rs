//! How far a server may be ahead with the items of a stream, if the framing has ids.

use std::mem::take;

use crate::{conversation::Messages, framing::Notice};

/// How many bytes of items a server may send before the client returns credit, from `WIRE.md`.
pub(super) const CREDIT: usize = 256 * 1024;

/// What was received of a stream, and for which the server has not got credit again.
#[derive(Debug, Default)]
pub(super) struct ItemCredit {
    used: usize,
}

impl ItemCredit {
    /// Counts an item. Returns the credit that the server is to get, once half of it is used.
    pub(super) fn count(&mut self, length: usize) -> Option<Notice> {
        self.used += length + Messages::OVERHEAD;
        if self.used < CREDIT / 2 {
            return None;
        }
        let used = take(&mut self.used);
        Some(Notice::Credit(used.try_into().unwrap_or(u32::MAX)))
    }
}
