//! What the formats promise.

mod escapes;
mod every_format;
mod nesting;
mod operations_evolve;
mod skipped;
