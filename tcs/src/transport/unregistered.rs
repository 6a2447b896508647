//! Sockets that were made outside of a runtime.

use std::{io, mem::replace};

use super::{Incoming, Listener};

/// A socket that listens already, and is registered with the runtime at the first accept. So the socket can be made
/// before there is a runtime, as for [`Server::run`](crate::server::Server::run).
#[derive(Debug)]
pub(super) enum Unregistered<S, L> {
    /// The socket must be non-blocking.
    New(S),
    Registered(L),
    /// The socket could not be registered. The error is reported already.
    Failed,
}

impl<S, L: Listener + TryFrom<S, Error = io::Error>> Unregistered<S, L> {
    pub(super) async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        *self = match replace(self, Self::Failed) {
            Self::New(socket) => Self::Registered(socket.try_into().map_err(|error| {
                // The socket is closed. With this kind, the server does not try again.
                let reason = format!("cannot register the socket with the runtime: {error}");
                io::Error::new(io::ErrorKind::NotConnected, reason)
            })?),
            other => other,
        };
        match self {
            Self::Registered(listener) => listener.accept().await,
            Self::New(_) | Self::Failed => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cannot be registered.
    struct Invalid;

    impl Listener for Invalid {
        async fn accept(&mut self) -> io::Result<Option<Incoming>> {
            unreachable!("it is not registered")
        }

        fn name(&self) -> String {
            unreachable!("it is not registered")
        }
    }

    impl TryFrom<()> for Invalid {
        type Error = io::Error;

        fn try_from((): ()) -> io::Result<Self> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    #[tokio::test]
    async fn socket_that_cannot_be_registered_is_reported_as_closed() {
        let mut listener = Unregistered::<(), Invalid>::New(());
        let error = listener.accept().await.expect_err("it is not registered");
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(error.to_string().ends_with("permission denied"), "{error}");
        let again = listener.accept().await.expect("it was reported");
        assert!(again.is_none());
    }
}
