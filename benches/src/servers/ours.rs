//! The library, with its defaults.

use std::io;

use tcs::{ConcurrentServer, Json, Postcard, ServerProtocol, server_protocol};

use super::{Announce, MAX_FRAME_LEN};
use crate::message::Typed;

/// Borrows and returns.
#[server_protocol]
pub fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

/// Makes a `String` of each request, as functions do.
#[server_protocol]
pub fn echo_text(text: &str) -> String {
    text.to_owned()
}

/// Reads a message, and writes it again.
#[server_protocol]
pub fn echo_typed(message: Typed) -> Typed {
    message
}

/// Does so in JSON.
#[server_protocol(format = Json)]
pub fn echo_json(message: Typed) -> Typed {
    message
}

/// Does so in Postcard.
#[server_protocol(format = Postcard)]
pub fn echo_postcard(message: Typed) -> Typed {
    message
}

/// Serves until the server fails.
///
/// The two settings are documented limits, which many connections and the largest frames need.
pub async fn serve<P: ServerProtocol>(
    protocol: P,
    port: u16,
    announce: Announce,
) -> io::Result<()> {
    ConcurrentServer::new(protocol)
        .port(port)
        .max_connections(200_000)
        .max_frame_len(MAX_FRAME_LEN)
        .on_listening(announce)
        .listen()
        .await
        .map(drop)
        .map_err(io::Error::other)
}
