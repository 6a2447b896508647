//! The fault matrix of servers: every fault in every state of a connection, with every framing, over every transport
//! (`server`); and the faults of a real kernel (`kernel`). `resilience::cuts` has the clients under a faulty server.
//!
//! A cell that fails is named, and `TCS_CELL=NAME cargo test -p tcs-tests --test faults` runs it alone. Each test prints
//! how many cells it has (`-- --nocapture`). `TCS_MATRIX=full` has every framing over every transport.

#![cfg(target_os = "linux")]

#[macro_use]
mod table;
mod kernel;
mod server;
