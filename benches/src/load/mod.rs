//! The generator: one thread that keeps connections busy, checks every reply and counts.

mod connection;
mod latency;
mod pattern;
mod run;
mod work;

pub use latency::Latencies;
pub use pattern::Wire;
pub use run::{Bounds, Outcome, run, timed};
pub use work::Work;
