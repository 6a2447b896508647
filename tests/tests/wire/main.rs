//! The specification, `WIRE.md`, as two implementations understand it.

mod formats;
mod framings;
mod python;
