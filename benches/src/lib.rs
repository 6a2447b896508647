//! What the programs of the benches share.

pub mod servers;
