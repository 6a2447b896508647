//! Sockets of both kinds: what `listen` and `proxy` must do to a connection below its stream, which may be of TLS.

#[cfg(unix)]
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};
use std::{io, net::SocketAddr};

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

/// The prefix of the path of a Unix socket.
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
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
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

    /// Returns the address of the other end. Unix sockets have none.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(stream) => Self::new(stream),
            #[cfg(unix)]
            Socket::Unix(stream) => Self::new(stream),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// The file of a Unix socket, which is removed at the end.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and the inode. Another run may have put its own file there.
    id: (u64, u64),
}

#[cfg(unix)]
impl SocketFile {
    /// Gives the file the mode of those of servers: a stranger on this machine cannot connect.
    fn new(path: &str) -> io::Result<Self> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.into(),
            id: (file.dev(), file.ino()),
        })
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.id) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Listens at HOST:PORT or unix:PATH, and returns where that is.
    pub(crate) async fn bind(endpoint: &str) -> Result<(Self, String), Failure> {
        let bound = async {
            #[cfg(unix)]
            if let Some(path) = endpoint.strip_prefix(UNIX) {
                // It removes what another run has left there.
                drop(UnixSocketListener::bind(path, 0o600)?);
                let listener = UnixListener::bind(path)?;
                let listener = Self::Unix {
                    listener,
                    _file: SocketFile::new(path)?,
                };
                return Ok((listener, endpoint.to_owned()));
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
            Self::Unix { listener, .. } => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

/// Tells why a connection was not accepted.
pub(crate) fn cannot_accept(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Connect,
        format_args!("cannot accept a connection: {error}"),
    )
}
