//! The differences between the three modes.

use std::time::Duration;

/// Selects once, iterative or concurrent serving. The second parameter of
/// [`Server`](super::Server).
pub trait Mode: sealed::Mode {}

/// Serves one request. See [`OnceServer`](crate::OnceServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Once {}

/// Serves one connection at a time. See [`IterativeServer`](crate::IterativeServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Iterative {}

/// Serves many connections at a time. See [`ConcurrentServer`](crate::ConcurrentServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Concurrent {}

impl<M: sealed::Mode> Mode for M {}

mod sealed {
    use std::time::Duration;

    #[expect(unnameable_types, reason = "this seals the trait")]
    pub trait Mode: Send + 'static {
        /// The default of `idle_timeout`.
        const IDLE: Duration;
        /// Whether the server answers only one request.
        const IS_ONCE: bool = false;

        /// The default of `max_connections`. Only concurrent servers have this setting.
        const MAX_CONNECTIONS: usize = 1;
    }
}

impl sealed::Mode for Once {
    const IDLE: Duration = Duration::from_secs(30);
    const IS_ONCE: bool = true;
}

impl sealed::Mode for Iterative {
    /// Short, because an idle peer keeps all others waiting.
    const IDLE: Duration = Duration::from_secs(5);
}

impl sealed::Mode for Concurrent {
    /// Long, because clients keep connections.
    const IDLE: Duration = Duration::from_mins(5);

    const MAX_CONNECTIONS: usize = 1_024;
}
