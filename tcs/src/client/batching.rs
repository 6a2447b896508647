//! How many bytes of requests are collected before they are sent.

/// While this many bytes of requests wait to be sent, a pipeline waits. It stops reading when this
/// many bytes of replies have arrived.
pub(super) const PIPELINE_FULL: usize = 64 * 1024;
/// If this many bytes wait to be sent, the callers of a channel wait for room.
pub(super) const CHANNEL_FULL: usize = 1 << 20;

/// Returns how many bytes of requests make a write worthwhile while `in_flight` bytes are in flight.
///
/// With a quarter in each write, both ends work at the same time. Below 1 KiB, a write costs more
/// than that saves.
#[inline]
pub(super) fn write_threshold(in_flight: u64) -> u64 {
    (in_flight / 4).clamp(1024, 32 * 1024)
}
