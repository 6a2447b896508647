//! Clients, their options, and pipelines.
//!
//! [`Client`](crate::Client) is for one exchange, [`Connection`](crate::Connection) for many exchanges of
//! one task, and [`Channel`](crate::Channel) for many tasks that share its connections, which it makes again when they
//! end.
//!
//! # More than one request, or one reply
//!
//! | the server | on a [`Connection`](crate::Connection) | on a [`Channel`](crate::Channel) |
//! |---|---|---|
//! | streams the reply to a request | [`stream`](crate::Connection::stream), which returns [`Items`] | [`stream`](crate::Channel::stream), with [`Multiplexed`](crate::framing::Multiplexed), which returns [`ChannelItems`] |
//! | takes a request in chunks | [`upload`](crate::Connection::upload), which returns an [`Upload`] | – |
//! | pushes events | [`next_event`](crate::Connection::next_event), between calls | [`subscribe`](crate::Channel::subscribe) and [`events`](crate::Channel::events), which return [`Events`] |
//! | pushes events between replies, or is used by two tasks | [`split`](crate::Connection::split), which returns a [`Sender`] and a [`Receiver`] | – |
//!
//! A streamed reply comes in its turn: the replies to later requests follow it. So a long stream needs a connection of its
//! own, or the framing [`Multiplexed`](crate::framing::Multiplexed), which has no uploads yet. If an ordinary call gets a stream, it returns an error
//! of the kind [`Reply`](crate::ErrorKind::Reply), and no item reaches another call. Events come at any time, also during
//! calls and between items, and are kept in order until they are received, up to
//! [`max_queued_events`](ConnectOptions::max_queued_events).
//!
//! [`LengthPrefixed`](crate::framing::LengthPrefixed) and `Multiplexed` distinguish items, events and replies. With
//! other framings, all three are ordinary messages. The protocol distinguishes events from replies with
//! [`IS_EVENT`](crate::protocol::Contract::IS_EVENT), and [`Connection::receive`](crate::Connection::receive) receives the
//! items after the first one.
//!
//! With the feature `stream`, [`Items`], [`ChannelItems`] and [`Events`] become a `futures_core::Stream` by their method `owned`.

pub(crate) mod channel;
mod connect;
pub(crate) mod connection;
pub(crate) mod deadline;
mod errors;
mod event_queue;
mod events;
pub(crate) mod exchange;
mod exchanges;
mod fault;
mod items;
mod options;
mod pipeline;
mod replies;
mod requests;
#[cfg(feature = "tower")]
mod service;
mod split;
#[cfg(test)]
mod text_contract;
mod timer;
mod upload;
mod wire;

pub use channel::{ChannelEvent, ChannelItems, ChannelOptions, ChannelState, Events};
#[cfg(feature = "stream")]
pub use channel::{OwnedChannelItems, OwnedEvents};
pub use connection::ConnectionParts;
pub use items::Items;
#[cfg(feature = "stream")]
pub use items::OwnedItems;
pub use options::ConnectOptions;
pub use pipeline::Pipeline;
#[cfg(feature = "tower")]
pub use service::ChannelService;
pub use split::{Receiver, ReplyOrEvent, Sender};
pub use upload::Upload;
