//! How many requests of one connection are processed at the same time.

/// How many requests of one connection are processed at the same time, and in which order they are answered.
///
/// See [`ServerProtocol::CONCURRENT`](super::ServerProtocol::CONCURRENT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    limit: usize,
    is_ordered: bool,
}

impl Concurrency {
    /// Processes up to `limit` requests at the same time, and answers them in the order in which they arrived.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0. In a constant, this is an error of the compiler.
    pub const fn ordered(limit: usize) -> Self {
        Self::new(limit, true)
    }

    /// Processes up to `limit` requests at the same time, and answers each as soon as its function returns. For
    /// protocols whose messages have ids.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0. In a constant, this is an error of the compiler.
    pub const fn unordered(limit: usize) -> Self {
        Self::new(limit, false)
    }

    const fn new(limit: usize, is_ordered: bool) -> Self {
        assert!(limit > 0, "at least one request is processed at a time");
        Self { limit, is_ordered }
    }

    /// Returns how many requests are processed at the same time.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// Returns `true` if the replies have the order of the requests.
    pub const fn is_ordered(self) -> bool {
        self.is_ordered
    }
}
