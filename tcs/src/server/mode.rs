//! For how long servers serve, and how many connections at a time.

use std::time::Duration;

/// For how long, and how many at a time: the second parameter of [`Server`](super::Server).
pub trait Lifetime: sealed::Lifetime {}

/// One request. See [`OnceServer`](super::OnceServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Once {}

/// One connection at a time. See [`IterativeServer`](super::IterativeServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Iterative {}

/// Many connections at a time. See [`ConcurrentServer`](super::ConcurrentServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Concurrent {}

pub(super) use sealed::Requests;

mod sealed {
    use std::time::Duration;

    /// How many requests a server answers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[expect(unnameable_types, reason = "it is part of the sealed trait")]
    pub enum Requests {
        One,
        Many,
    }

    #[expect(unnameable_types, reason = "this seals the trait")]
    pub trait Lifetime: Send + 'static {
        /// The default of `idle_timeout`.
        const IDLE: Duration;
        const REQUESTS: Requests;

        /// Returns the most connections that are open at the same time.
        fn max_open(max_connections: usize) -> usize;
    }
}

impl<L: sealed::Lifetime> Lifetime for L {}

impl sealed::Lifetime for Once {
    const IDLE: Duration = Duration::from_secs(30);
    const REQUESTS: Requests = Requests::One;

    fn max_open(_max_connections: usize) -> usize {
        1
    }
}

impl sealed::Lifetime for Iterative {
    /// Short, because an idle peer keeps all others waiting.
    const IDLE: Duration = Duration::from_secs(5);
    const REQUESTS: Requests = Requests::Many;

    fn max_open(_max_connections: usize) -> usize {
        1
    }
}

impl sealed::Lifetime for Concurrent {
    /// Long, because clients keep connections.
    const IDLE: Duration = Duration::from_mins(5);
    const REQUESTS: Requests = Requests::Many;

    fn max_open(max_connections: usize) -> usize {
        max_connections
    }
}
