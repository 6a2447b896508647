//! Clients: one exchange, a connection for many exchanges, or a connection that many tasks share.

#![expect(
    clippy::inline_always,
    reason = "outlined, each of these functions makes a call 2 to 50 % more expensive"
)]

pub(crate) mod channel;
mod connect;
pub(crate) mod connection;
pub(crate) mod exchange;
mod fault;
mod incoming;
mod options;
mod pipeline;
mod timer;
mod wire;

pub use options::ConnectOptions;
pub use pipeline::Pipeline;
