//! What the formats promise.

mod escapes;
mod formats;
mod formats_limits;
mod nesting;
mod operations_evolve;
