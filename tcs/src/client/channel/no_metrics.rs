//! In place of `metrics.rs` without its feature: publishes nothing.

#![expect(clippy::unused_self, reason = "those of `metrics.rs` use it")]

pub(super) struct Metrics;

#[derive(Clone, Copy)]
pub(super) struct Start;

impl Start {
    #[inline]
    pub(super) const fn now() -> Self {
        Self
    }
}

impl Metrics {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) const fn count_connect(&self) {}

    pub(super) const fn count_end(&self) {}

    pub(super) const fn count_failed_connect(&self) {}

    pub(super) const fn count_loss(&self) {}

    pub(super) const fn count_retry(&self) {}

    #[inline]
    pub(super) const fn record_answer(&self, _start: Start) {}

    pub(super) const fn count_failure(&self) {}
}
