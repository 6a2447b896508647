//! What the programs of the benches share.

pub mod message;
pub mod servers;
