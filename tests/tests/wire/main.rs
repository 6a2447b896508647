//! The specification, `WIRE.md`, as two implementations understand it.

mod python;
mod wire;
mod wire_formats;
