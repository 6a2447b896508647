//! What the programs of the benches share.

pub mod load;
pub mod message;
pub mod servers;
