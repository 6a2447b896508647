//! Sockets of both kinds: what `listen` and `proxy` must do to a connection below its stream, which may be of TLS.

use std::io;

use socket2::SockRef;
use tcs::transport::Stream;
#[cfg(unix)]
use tcs::transport::UnixSocketListener;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::{
    io::{Interest, Ready},
    net::{TcpListener, TcpStream},
};

use crate::failure::{Exit, Failure};

/// What stands before the path of a Unix socket.
#[cfg(unix)]
const UNIX: &str = "unix:";

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connects to HOST:PORT or unix:PATH.
    pub(crate) async fn connect(endpoint: &str) -> io::Result<Self> {
        #[cfg(unix)]
        if let Some(path) = endpoint.strip_prefix(UNIX) {
            return UnixStream::connect(path).await.map(Self::Unix);
        }
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Returns the stream, and a second handle of its socket. The connection ends with the later of both.
    pub(crate) fn into_stream(self) -> io::Result<(Stream, Self)> {
        match self {
            Self::Tcp(stream) => {
                let second = SockRef::from(&stream).try_clone()?;
                let second = TcpStream::from_std(second.into())?;
                Ok((Stream::new(stream), Self::Tcp(second)))
            }
            #[cfg(unix)]
            Self::Unix(stream) => {
                let second = SockRef::from(&stream).try_clone()?;
                let second = UnixStream::from_std(second.into())?;
                Ok((Stream::new(stream), Self::Unix(second)))
            }
        }
    }

    /// Makes the end of the connection a reset. Unix sockets have none, and end.
    pub(crate) fn must_reset(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_zero_linger(),
            #[cfg(unix)]
            Self::Unix(_) => Ok(()),
        }
    }

    /// Waits until the system has sent all that was written, where it tells (Linux).
    pub(crate) async fn sent(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            let socket = SockRef::from(stream);
            socket.set_tcp_notsent_lowat(1)?;
            // The readiness that the runtime knows of the other handles is from before.
            let fresh = TcpStream::from_std(socket.try_clone()?.into())?;
            fresh.writable().await?;
        }
        Ok(())
    }

    /// Waits until something can be read.
    pub(crate) async fn readable(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.ready(Interest::READABLE).await,
        }
    }

    /// Returns the name of the other end.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(|peer| peer.to_string()),
            #[cfg(unix)]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
        .unwrap_or_else(|_| "a client".to_owned())
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    /// Listens at HOST:PORT or unix:PATH, and returns where that is.
    pub(crate) async fn bind(endpoint: &str) -> Result<(Self, String), Failure> {
        let bound = async {
            #[cfg(unix)]
            if let Some(path) = endpoint.strip_prefix(UNIX) {
                // It removes what another run has left there.
                drop(UnixSocketListener::bind(path, 0o600)?);
                return Ok((Self::Unix(UnixListener::bind(path)?), endpoint.to_owned()));
            }
            let listener = TcpListener::bind(endpoint).await?;
            let address = listener.local_addr()?.to_string();
            Ok::<_, io::Error>((Self::Tcp(listener), address))
        };
        bound.await.map_err(|error| {
            let message = format!("cannot listen on {endpoint}: {error}");
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "end what listens there, or choose another port: localhost:0 is any free port"
                }
                _ => {
                    "write HOST:PORT with a name of this machine, such as localhost:0, or unix:PATH"
                }
            };
            Failure::new(Exit::Connect, message).hint(hint)
        })
    }

    pub(crate) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // What is passed on, or a step of a script, may be small.
                drop(stream.set_nodelay(true));
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}
