//! One end of a connection over any transport, without any of the library's code.

use std::io;

use tcs::{
    Peer,
    testing::Pipe,
    transport::{Incoming, Listener},
};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{net::TcpStream, sync::mpsc};

use crate::Io;

pub enum Link {
    Memory(Pipe),
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(target_os = "linux")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Link {
    pub fn io(&mut self) -> &mut dyn Io {
        match self {
            Self::Memory(stream) => stream,
            Self::Tcp(stream) => stream,
            #[cfg(unix)]
            Self::Unix(stream) => stream,
            #[cfg(target_os = "linux")]
            Self::Tls(stream) => &mut **stream,
        }
    }

    /// Resets the connection. Unix sockets have no reset, except for one that is closed with unread bytes.
    pub fn reset(self) {
        match self {
            Self::Memory(stream) => stream.reset(),
            Self::Tcp(stream) => stream.set_zero_linger().expect("TCP has it"),
            #[cfg(unix)]
            Self::Unix(_) => {}
            #[cfg(target_os = "linux")]
            Self::Tls(stream) => stream.get_ref().0.set_zero_linger().expect("TCP has it"),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// Accepts pipes of any size, which can be reset.
pub(crate) struct Pipes(pub(crate) mpsc::UnboundedReceiver<Pipe>);

impl Listener for Pipes {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let accepted = self.0.recv().await;
        Ok(accepted.map(|pipe| Incoming::new(pipe, Peer::unnamed())))
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
