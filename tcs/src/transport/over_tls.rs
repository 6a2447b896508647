//! Functions about TLS that exist even without the feature `tls`.

use std::io;

use crate::Peer;

/// Adds advice to an error of a client's stream, if the stream is TLS. A server with TLS 1.3 rejects the certificate of
/// a client after the handshake.
pub(crate) fn explain_if_tls(error: io::Error) -> io::Error {
    #[cfg(feature = "tls")]
    let error = super::tls_error::explain(error, "server");
    error
}

/// A fact of a peer whose connection has performed the handshake of `Server::start_tls`, of whatever type.
pub(crate) struct StartedTls;

/// Returns `true` if the peer is connected over `Tls`, or has performed the handshake of `Server::start_tls`.
pub(crate) fn is_over_tls(peer: &Peer) -> bool {
    if peer.get::<StartedTls>().is_some() {
        return true;
    }
    #[cfg(feature = "tls")]
    return peer.get::<super::TlsInfo>().is_some();
    #[cfg(not(feature = "tls"))]
    return {
        _ = peer;
        false
    };
}
