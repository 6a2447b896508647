//! What the formats promise.

mod escapes;
mod formats;
mod nesting;
mod operations_evolve;
mod replies_that_panic;
