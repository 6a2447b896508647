//! The library, with its defaults.

use std::{env, io, time::Duration};

use tcs::{
    ConcurrentServer,
    format::{Json, Postcard},
    protocol::ServerProtocol,
    server_protocol,
    transport::Tls,
};

use super::{Announce, MAX_FRAME_LEN};
use crate::{message::Typed, tls::identity};

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
pub async fn serve<P: ServerProtocol>(
    protocol: P,
    port: u16,
    announce: Announce,
) -> io::Result<()> {
    let server = configured(protocol, port, announce)?;
    server.listen().await.map(drop).map_err(io::Error::other)
}

/// Does so over TLS.
pub async fn serve_tls<P: ServerProtocol>(
    protocol: P,
    port: u16,
    announce: Announce,
) -> io::Result<()> {
    let (certificate, key) = identity()?;
    let tls = Tls::from_pem(certificate, key).map_err(io::Error::other)?;
    let server = configured(protocol, port, announce)?.tls(tls);
    server.listen().await.map(drop).map_err(io::Error::other)
}

/// The two settings are documented limits, which many connections and the largest frames need.
fn configured<P: ServerProtocol>(
    protocol: P,
    port: u16,
    announce: Announce,
) -> io::Result<ConcurrentServer<P>> {
    let mut server = ConcurrentServer::new(protocol)
        .port(port)
        .max_connections(200_000)
        .max_frame_len(MAX_FRAME_LEN)
        .on_listening(|server| announce(server.local_addr()));
    if let Some(budget) = poll_budget()? {
        server = server.poll_budget(budget);
    }
    Ok(server)
}

/// Returns the microseconds of `POLL_BUDGET_US`, if that is set.
///
/// `benches/count` sets it for a server that runs under valgrind, some 50 times slower than otherwise. With
/// the default, what it counted would depend on how fast that is.
fn poll_budget() -> io::Result<Option<Duration>> {
    env::var("POLL_BUDGET_US")
        .ok()
        .map(|text| text.parse().map(Duration::from_micros))
        .transpose()
        .map_err(io::Error::other)
}
