//! Sockets that were made outside of a runtime.

use std::{io, mem::replace};

use super::{Incoming, Listener};

/// A socket that listens already, and is registered with the runtime at the first accept. So the socket can be made
/// before there is a runtime, as for [`Server::run`](crate::server::Server::run).
#[derive(Debug)]
pub(super) struct Unregistered<S, L> {
    state: State<S, L>,
    register: fn(S) -> io::Result<L>,
}

#[derive(Debug)]
enum State<S, L> {
    New(S),
    Registered(L),
    /// The socket could not be registered. The error is reported already.
    Failed,
}

impl<S, L: Listener> Unregistered<S, L> {
    /// `socket` must be non-blocking.
    pub(super) const fn new(socket: S, register: fn(S) -> io::Result<L>) -> Self {
        let state = State::New(socket);
        Self { state, register }
    }

    pub(super) async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        self.state = match replace(&mut self.state, State::Failed) {
            State::New(socket) => State::Registered((self.register)(socket).map_err(|error| {
                // The socket is closed. With this kind, the server does not try again.
                let reason = format!("cannot register the socket with the runtime: {error}");
                io::Error::new(io::ErrorKind::NotConnected, reason)
            })?),
            state => state,
        };
        match &mut self.state {
            State::Registered(listener) => listener.accept().await,
            State::New(_) | State::Failed => Ok(None),
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
        let again = listener.accept().await.expect("it was reported");
        assert!(again.is_none());
    }
}
