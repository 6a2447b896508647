//! Clients in memory, and the server's ends of their connections.

use tcs::{Channel, Connection, client::ConnectOptions, framing::Framing};

use crate::{RawPeer, Writes, counted};

/// A connection in memory, between whose ends this many bytes fit, and its server's end.
pub fn connection<F: Framing>(room: usize) -> (Connection<F>, RawPeer) {
    connection_with(&ConnectOptions::new(), room)
}

/// Like [`connection`], with options.
pub fn connection_with<F: Framing>(
    options: &ConnectOptions,
    room: usize,
) -> (Connection<F>, RawPeer) {
    let (near, far) = tokio::io::duplex(room);
    let connection = options.over(near).expect("good options");
    (connection, RawPeer::over(far))
}

/// A channel in memory, between whose ends this many bytes fit, and its server's end.
pub fn channel<F: Framing>(room: usize) -> (Channel<F>, RawPeer) {
    channel_with(&ConnectOptions::new(), room)
}

/// Like [`channel`], with options.
pub fn channel_with<F: Framing>(options: &ConnectOptions, room: usize) -> (Channel<F>, RawPeer) {
    let (connection, peer) = connection_with(options, room);
    (connection.into_channel().expect("a runtime"), peer)
}

/// Like [`channel_with`], with the writes of the client.
pub fn counted_channel(options: &ConnectOptions, room: usize) -> (Channel, RawPeer, Writes) {
    let (near, far) = tokio::io::duplex(room);
    let (near, writes) = counted(near);
    let connection = options.over(near).expect("good options");
    let channel = connection.into_channel().expect("a runtime");
    (channel, RawPeer::over(far), writes)
}
