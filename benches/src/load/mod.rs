//! The generator: one thread that keeps connections busy, checks every reply and counts.

mod connection;
mod pattern;
mod run;
mod work;

pub use pattern::Wire;
pub use run::{Bounds, Outcome, run};
pub use work::Work;
