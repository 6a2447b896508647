//! Unix sockets.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, unix::UCred};

use super::{Incoming, Listener, unregistered::Unregistered};
use crate::{ConnectionInfo, FromContext, Peer, Rejection};

/// A listener at a path. Dropping it removes the socket file.
///
/// # Examples
///
/// ```no_run
/// use tcs::{ConcurrentServer, server_protocol, transport::UnixSocketListener};
/// use tokio::net::unix::UCred;
///
/// #[server_protocol]
/// fn greet(name: &str, user: UCred) -> String {
///     format!("Hello, {name}! You are user {}.", user.uid())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = UnixSocketListener::bind("/run/greet.sock", 0o660)?;
/// ConcurrentServer::new(Greet).listener(socket).run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UnixSocketListener {
    /// Dropped first: nobody takes the file for a stale one while the socket listens.
    file: SocketFile,
    listener: Unregistered<net::UnixListener, UnixListener>,
}

/// The file of a socket. Dropping it removes the file, unless another one is in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: FileId,
}

/// The device and the inode of a file. The socket keeps the inode, so no other file gets it.
type FileId = (u64, u64);

impl UnixSocketListener {
    /// Listens at `path`. The file gets the permissions `mode`, such as `0o660`, before anyone can connect.
    ///
    /// A socket file that a server left is replaced. When this value is dropped, the file is removed, unless another
    /// server has put its own in its place. To connect, a peer needs write permission for the file
    /// (unix(7)). Abstract names have no file and no permissions, and are an error.
    ///
    /// # Errors
    ///
    /// Returns [`AddrInUse`](io::ErrorKind::AddrInUse) if a server listens at `path`, or if it is a file of another
    /// kind; and the errors of bind(2) and chmod(2).
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let path = path.as_ref();
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile {
            // The process may change its folder before the file is removed.
            path: std::path::absolute(path)?,
            id: file_id(path)?,
        };
        // A socket that is bound and does not listen refuses its peers, so none comes in before this.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.listen(crate::socket::BACKLOG.into())?;
        socket.set_nonblocking(true)?;
        let listener = Unregistered::new(socket.into(), UnixListener::from_std);
        Ok(Self { file, listener })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Self { path, id } = &*self;
        let removed = match file_id(path) {
            Ok(found) if found == *id => fs::remove_file(path),
            other => other.map(drop),
        };
        if let Err(error) = removed {
            tracing::debug!(%error, path = %path.display(), "cannot remove the socket file");
        }
    }
}

fn file_id(path: &Path) -> io::Result<FileId> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Removes a socket file at which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {
            let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // A server with a full backlog would make a blocking connect(2) wait.
            probe.set_nonblocking(true)?;
            match probe.connect(&SockAddr::unix(path)?) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)
                }
                // bind(2) reports what it is.
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

impl Listener for UnixSocketListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        self.listener.accept().await
    }

    fn name(&self) -> String {
        self.file.path.display().to_string()
    }
}

/// Each [`Peer`] has a [`UCred`], and is shown by its user.
impl Listener for UnixListener {
    async fn accept(&mut self) -> io::Result<Option<Incoming>> {
        let (stream, _) = Self::accept(self).await?;
        // The peer may have left. That is no error of the listener.
        let credentials = stream.peer_cred();
        let credentials = credentials.map_err(|_| io::ErrorKind::ConnectionAborted)?;
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
