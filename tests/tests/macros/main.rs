//! What the attributes make of functions and modules.

mod misuse;
mod operations;
mod operations_served;
