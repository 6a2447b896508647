//! The servers that are measured: each answers a length-prefixed message with itself.

pub mod l1a;
pub mod l1b;
pub mod ours;
