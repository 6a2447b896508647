//! Clients, their options, and pipelines.
//!
//! [`Client`](crate::Client) is for one exchange, [`Connection`](crate::Connection) for many exchanges of
//! one task, and [`Channel`](crate::Channel) for a connection that many tasks share.

pub(crate) mod channel;
mod connect;
pub(crate) mod connection;
pub(crate) mod exchange;
mod fault;
mod options;
mod pipeline;
mod replies;
mod timer;
mod wire;

pub use options::ConnectOptions;
pub use pipeline::Pipeline;
