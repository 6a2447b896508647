//! What the tests share.

pub mod process;
