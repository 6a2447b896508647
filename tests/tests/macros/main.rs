//! What the attributes make of functions and modules.

mod operations;
mod operations_served;
