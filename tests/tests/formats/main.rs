//! What the formats promise.

mod escapes;
mod formats;
mod nesting;
mod operations_evolve;
