//! Unix sockets.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net,
    },
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, unix::UCred};

use super::{Incoming, Listener};
use crate::{ConnectionInfo, FromContext, Peer, Rejection};

/// A listener at a path. Dropping it removes the socket file.
///
/// # Examples
///
/// ```no_run
/// use tcs::{ConcurrentServer, server_protocol, transport::UnixSocket};
/// use tokio::net::unix::UCred;
///
/// #[server_protocol]
/// fn greet(name: &str, user: UCred) -> String {
///     format!("Hello, {name}! You are user {}.", user.uid())
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = UnixSocket::bind("/run/greet.sock", 0o660)?;
/// ConcurrentServer::new(Greet).listener(socket).listen().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket. Dropping it removes the file.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl UnixSocket {
    /// Listens at `path`. The file gets the permissions `mode`, such as `0o660`, before anyone can connect.
    ///
    /// A socket file that a server left is replaced. To connect, a peer needs write permission for the file
    /// (unix(7)).
    ///
    /// # Errors
    ///
    /// Returns [`AddrInUse`](io::ErrorKind::AddrInUse) if a server listens at `path`, or if it is a file of another
    /// kind; and the errors of bind(2) and chmod(2).
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime, as [`UnixListener::bind`] does.
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let path = path.as_ref();
        remove_stale(path)?;
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        let file = SocketFile(path.to_owned());
        // A socket that is bound and does not listen refuses its peers, so none comes in before this.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(crate::socket::BACKLOG.into())?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(net::UnixListener::from(socket))?;
        Ok(Self { listener, file })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "cannot remove the socket file");
        }
    }
}

/// Removes a socket file at which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => match net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            // bind(2) reports what it is.
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

impl Listener for UnixSocket {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        Listener::accept(&mut self.listener).await
    }

    fn name(&self) -> String {
        self.file.0.display().to_string()
    }
}

/// Each [`Peer`] has a [`UCred`], and is shown by its process and user.
impl Listener for UnixListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let (stream, _) = Self::accept(self).await?;
        let credentials = stream.peer_cred()?;
        let mut peer = Peer::named(format!("user {}", credentials.uid()));
        peer.insert(credentials);
        Ok(Some(Incoming::new(stream, peer)))
    }

    fn name(&self) -> String {
        let addr = Self::local_addr(self).ok();
        let path = addr.as_ref().and_then(|addr| addr.as_pathname());
        path.map_or_else(
            || "Unix socket".to_owned(),
            |path| path.display().to_string(),
        )
    }
}

/// Returns the credentials of the peer's process (`SO_PEERCRED`). Rejects the request if the transport has none.
impl FromContext<'_> for UCred {
    fn from_context(info: &ConnectionInfo) -> Result<Self, Rejection> {
        info.peer().get().copied().ok_or_else(|| {
            Rejection::bad_request("this function needs the user of its peer, and there is none")
        })
    }
}
