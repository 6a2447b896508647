//! The library's client.

use std::{io, net::SocketAddr};

use tcs::{Connection, LengthPrefixed};

use super::Caller;
use crate::servers::ours::Echo;

/// A `Connection`, which has one request in flight.
#[derive(Debug)]
pub struct Library(Connection<LengthPrefixed>);

impl Caller for Library {
    async fn open(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        if count > 1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let connection = Connection::connect(address)
            .await
            .map_err(io::Error::other)?;
        Ok(vec![Self(connection)])
    }

    async fn call(&mut self, message: &[u8]) -> io::Result<bool> {
        let reply = self.0.call::<Echo>(message);
        Ok(reply.await.map_err(io::Error::other)? == message)
    }
}
