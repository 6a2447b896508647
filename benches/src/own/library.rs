//! The library's clients.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use tcs::{Channel, Connection, framing::LengthPrefixed};

use super::Caller;
use crate::{
    message::Typed,
    servers::ours::{Echo, EchoTyped},
};

/// Whether channels last (`Channel::connect`), or share one connection (`Connection::into_channel`).
///
/// It is no type, because a second use of the calls of a channel would be a call of a function in both, which are inlined
/// if they are used once.
pub static LASTS: AtomicBool = AtomicBool::new(false);

/// A `Connection` for one caller, a `Channel` for several, with their defaults.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation where each request has a connection"
)]
pub enum Library {
    /// One request in flight.
    Alone(Connection<LengthPrefixed>),
    /// A clone for each caller.
    Shared(Channel),
}

impl Caller for Library {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let channel = if count > 1 && LASTS.load(Ordering::Relaxed) {
            Channel::connect(address).await
        } else {
            let connection = Connection::connect(address).await;
            let connection = connection.map_err(io::Error::other)?;
            if count == 1 {
                return Ok(vec![Self::Alone(connection)]);
            }
            connection.into_channel()
        };
        let channel = channel.map_err(io::Error::other)?;
        Ok((0..count).map(|_| Self::Shared(channel.clone())).collect())
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let channel = match self {
            Self::Alone(connection) => {
                let reply = connection.call::<Echo>(message).await;
                return Ok(reply.map_err(io::Error::other)? == message);
            }
            Self::Shared(channel) => channel,
        };
        let is_same = channel.call_with::<Echo, _>(message, |reply| reply == message);
        is_same.await.map_err(io::Error::other)
    }

    async fn call_typed(&mut self, message: Typed) -> io::Result<Typed> {
        let reply = match self {
            Self::Alone(connection) => connection.call::<EchoTyped>(message).await,
            Self::Shared(channel) => channel.call::<EchoTyped>(message).await,
        };
        reply.map_err(io::Error::other)
    }
}
