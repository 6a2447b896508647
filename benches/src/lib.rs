//! What the programs of the benches share.

pub mod cpu;
pub mod load;
pub mod message;
pub mod options;
pub mod own;
pub mod servers;
pub mod tls;
