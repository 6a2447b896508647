//! Sockets that were made outside of a runtime.

use std::io;

use super::{Incoming, Listener};

/// A socket that listens already, and is registered with the runtime at the first accept. So it can be made before there
/// is a runtime, as for [`Server::run`](crate::server::Server::run).
#[derive(Debug)]
pub(super) struct Unregistered<S, L> {
    socket: Option<S>,
    listener: Option<L>,
    register: fn(S) -> io::Result<L>,
}

impl<S, L: Listener> Unregistered<S, L> {
    /// `socket` must be non-blocking.
    pub(super) fn new(socket: S, register: fn(S) -> io::Result<L>) -> Self {
        Self {
            socket: Some(socket),
            listener: None,
            register,
        }
    }

    pub(super) async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        if let Some(socket) = self.socket.take() {
            let registered = (self.register)(socket);
            // The socket is closed, so the server must not try again. This kind says so.
            self.listener = Some(registered.map_err(|error| {
                let reason = format!("cannot register the socket with the runtime: {error}");
                io::Error::new(io::ErrorKind::NotConnected, reason)
            })?);
        }
        match &mut self.listener {
            Some(listener) => listener.accept().await,
            // It could not be registered, which was reported.
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_that_cannot_be_registered_is_reported_as_closed() {
        let register = |()| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let mut listener = Unregistered::<(), tokio::net::TcpListener>::new((), register);
        let error = listener.accept().await.expect_err("it is not registered");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(error.to_string().ends_with("permission denied"), "{error}");
    }
}
