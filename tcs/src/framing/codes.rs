//! The kinds of control frames that are notices, from `WIRE.md`. Those of rejections are in `rejection.rs`.

/// A client sends it while it has nothing to say.
pub(crate) const PING: u8 = 0x80;
/// The next messages are items.
pub(crate) const ITEMS: u8 = 0x81;
/// The next messages are events.
pub(crate) const EVENTS: u8 = 0x82;
/// The next messages are chunks.
pub(crate) const CHUNKS: u8 = 0x83;
/// The last chunk was before it.
pub(crate) const CHUNKS_END: u8 = 0x84;
/// The next messages are parts of a reply.
pub(crate) const PARTS: u8 = 0x85;
/// The client takes more bytes of items.
pub(crate) const CREDIT: u8 = 0x86;
/// The request is no longer wanted.
pub(crate) const CANCEL: u8 = 0x87;
/// The request is no longer wanted after a time.
pub(crate) const DEADLINE: u8 = 0x88;
