//! What the settings that are times take.

use std::time::Duration;

/// A time limit, or `None` to switch it off.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no time limit",
    label = "not a `Duration`",
    note = "a time limit is a `Duration`, such as `Duration::from_secs(5)`, or `None` for none"
)]
pub trait TimeLimit {
    /// Returns the limit.
    fn duration(self) -> Option<Duration>;
}

impl TimeLimit for Duration {
    fn duration(self) -> Option<Duration> {
        Some(self)
    }
}

impl TimeLimit for Option<Duration> {
    fn duration(self) -> Option<Duration> {
        self
    }
}
