//! Clients, their options, and pipelines.
//!
//! [`Client`](crate::Client) is for one exchange, [`Connection`](crate::Connection) for many exchanges of
//! one task, and [`Channel`](crate::Channel) for many tasks that share its connections, which it makes again when they
//! end.

pub mod blocking;
pub(crate) mod channel;
mod connect;
pub(crate) mod connection;
mod events;
pub(crate) mod exchange;
mod fault;
mod items;
mod options;
mod pipeline;
mod replies;
mod requests;
#[cfg(feature = "tower")]
mod service;
mod split;
mod timer;
mod wire;

#[cfg(feature = "stream")]
pub use channel::OwnedEvents;
pub use channel::{ChannelEvent, ChannelOptions, ChannelState, Events};
pub use connection::ConnectionParts;
pub use items::Items;
#[cfg(feature = "stream")]
pub use items::OwnedItems;
pub use options::ConnectOptions;
pub use pipeline::Pipeline;
#[cfg(feature = "tower")]
pub use service::ChannelService;
pub use split::{Incoming, Receiver, Sender};
