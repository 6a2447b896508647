//! Random choices that can be replayed.

use std::{
    io::{Write as _, stderr},
    thread,
};

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};

use super::faults::{At, Cut, FaultyStream};

/// The environment variable that has the seed of a test to replay.
const VARIABLE: &str = "TCS_SEED";

/// Random choices of a test that can be replayed.
///
/// If the test panics, the seed is written to stderr, as `TCS_SEED=…`. With this environment variable, the test makes
/// the same choices again.
///
/// # Examples
///
/// ```
/// use tcs::{Connection, server_protocol, testing::{Seed, serve}};
///
/// #[server_protocol]
/// fn greet(name: &str) -> String {
///     format!("Hello, {name}!")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tcs::Result<()> {
/// let server = serve(Greet).await;
/// for mut seed in Seed::many(20) {
///     let name = "x".repeat(seed.below(2_000));
///     // Each read and each write is a piece of any size.
///     let mut connection = Connection::over(seed.chunked(server.stream()));
///     assert_eq!(connection.call::<Greet>(&name).await?, format!("Hello, {name}!"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Seed {
    seed: u64,
    rng: Rng,
}

impl Seed {
    /// Creates a random seed, or the seed in the environment variable `TCS_SEED`.
    ///
    /// # Panics
    ///
    /// Panics if the variable is no number.
    pub fn new() -> Self {
        Self::from_u64(from_environment().unwrap_or_else(|| fastrand::u64(..)))
    }

    /// Returns `count` random seeds, or only the seed in the environment variable `TCS_SEED`.
    ///
    /// # Panics
    ///
    /// Panics if the variable is no number.
    pub fn many(count: usize) -> impl Iterator<Item = Self> {
        let seed = from_environment();
        let count = if seed.is_some() { 1 } else { count };
        (0..count).map(move |_| Self::from_u64(seed.unwrap_or_else(|| fastrand::u64(..))))
    }

    /// Creates a fixed seed, for a test that always makes the same choices.
    pub fn from_u64(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::with_seed(seed),
        }
    }

    /// Returns a random number below `limit`, or 0 if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 {
            0
        } else {
            self.rng.usize(..limit)
        }
    }

    /// Wraps a stream that reads and writes in random pieces, and sometimes lets other tasks run in between.
    pub fn chunked(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> FaultyStream {
        FaultyStream::new(stream).in_random_pieces(self.rng.fork())
    }

    /// Returns a random cut of a connection whose owner reads `read` bytes and writes `written`.
    pub fn cut(&mut self, read: usize, written: usize) -> (At, Cut) {
        let at = self.below(read + written + 2);
        let at = if at <= read {
            At::Read(at)
        } else {
            At::Written(at - read - 1)
        };
        let cut = self.below(Cut::ALL.len());
        (at, Cut::ALL.get(cut).copied().unwrap_or(Cut::Close))
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            // An error does not matter, because the line is only for people.
            writeln!(stderr(), "{VARIABLE}={} repeats this failure", self.seed).ok();
        }
    }
}

fn from_environment() -> Option<u64> {
    let seed = std::env::var(VARIABLE).ok()?;
    let seed = seed.parse();
    Some(seed.unwrap_or_else(|_| panic!("{VARIABLE} is no number")))
}
