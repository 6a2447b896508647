//! Clients and their options.
//!
//! See [choosing a client](crate#choosing-a-client) for the differences between [`Client`](crate::Client),
//! [`Connection`](crate::Connection) and [`Channel`](crate::Channel).
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
//! Replies arrive in the order of the requests, so a long stream delays later replies. Use a separate connection for
//! it, or the framing [`Multiplexed`](crate::framing::Multiplexed), which has no uploads yet. A call that expects one
//! reply and receives a stream returns an error of the kind [`Reply`](crate::ErrorKind::Reply).
//!
//! Events may arrive at any time, and are kept in order until you receive them, up to
//! [`max_queued_events`](ConnectOptions::max_queued_events).
//!
//! [`LengthPrefixed`](crate::framing::LengthPrefixed) and `Multiplexed` distinguish items, events and replies. With
//! other framings, all three are ordinary messages:
//!
//! - The protocol says which messages are events ([`IS_EVENT`](crate::protocol::Contract::IS_EVENT)).
//! - The first item is the reply to the call. [`Connection::receive`](crate::Connection::receive) receives the others.
//!
//! With the feature `stream`, [`Items`], [`ChannelItems`] and [`Events`] have a method `owned`, which returns a
//! `futures_core::Stream`.
//!
//! # Logging and metrics
//!
//! Channels log with `tracing`, and with the feature `metrics` they publish metrics, as servers do
//! ([logging](crate::server#logging), [metrics](crate::server#metrics)). These names do not change without a note in
//! `CHANGELOG.md`:
//!
//! | span or event | level | fields |
//! |---|---|---|
//! | span `channel`, around the events of a connection of a [`Channel`](crate::Channel) | `INFO` | `server` |
//! | `cannot connect; trying again` | `WARN`, at the first of several attempts | `error` |
//! | `connected again` | `INFO` | `peer`; `failures` |
//! | `connection lost with calls in flight` | `INFO` | `peer`, `reason` |
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `tcs_client_connections_open` | gauge | connections of channels that are open |
//! | `tcs_client_connects_total` | counter | attempts to connect, by `outcome`: `connected` or `failed` |
//! | `tcs_client_connections_lost_total` | counter | connections that ended while calls were in flight |
//! | `tcs_client_calls_total` | counter | calls, by `outcome`: `answered` or `failed`, with their retries |
//! | `tcs_client_retries_total` | counter | requests that were sent again |
//! | `tcs_client_retries_refused_total` | counter | requests that were not sent again, because the budget of retries was used up |
//! | `tcs_client_call_duration_seconds` | histogram | the time from a call to its reply, with all waits and retries |
//!
//! They are published when they change, and have no labels but `outcome`. Install a recorder before you make a channel.
//! The metrics of several channels in a program add up.

pub(crate) mod channel;
mod connect;
pub(crate) mod connection;
pub(crate) mod deadline;
mod errors;
mod event_queue;
mod events;
mod exchanges;
mod fault;
mod items;
pub(crate) mod one_shot;
mod options;
#[cfg(feature = "stream")]
mod owned;
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
pub use connection::ConnectionParts;
pub use items::Items;
pub use options::ConnectOptions;
#[cfg(feature = "stream")]
pub use owned::Owned;
pub use pipeline::Pipeline;
#[cfg(feature = "tower")]
pub use service::ChannelService;
pub use split::{Receiver, ReplyOrEvent, Sender};
pub use upload::Upload;
