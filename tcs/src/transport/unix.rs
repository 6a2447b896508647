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
    /// The file. It is dropped before the socket stops listening, so that no server takes it for a stale one.
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
    /// The socket is bound to another name in the same folder, `.0` or a later number, and linked to `path` once it
    /// listens. So no peer finds a file whose socket does not listen yet. Tools such as `ss` show the first name. Both
    /// paths must fit the address of a socket: 107 bytes on Linux (unix(7)), 103 on macOS.
    ///
    /// The new file replaces a socket file that an earlier server has left. When this value is dropped, the file is
    /// removed, unless another server has put its own in its place. To connect, a peer needs write permission for the
    /// file (unix(7)). Abstract names have no file and no permissions, and are an error.
    ///
    /// # Errors
    ///
    /// Returns [`AddrInUse`](io::ErrorKind::AddrInUse) if a server listens at `path`, or if it is a file of another
    /// kind; [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is too long; and the errors of bind(2), chmod(2) and
    /// link(2).
    pub fn bind(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let path = path.as_ref();
        // `link` takes longer paths, to which nobody could connect.
        SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let hidden = bind_hidden(&socket, path)?;
        fs::set_permissions(&hidden.path, fs::Permissions::from_mode(mode))?;
        socket.listen(crate::socket::BACKLOG.into())?;
        // A server that finds a socket that does not listen takes its file for a stale one.
        link(&hidden.path, path)?;
        let file = SocketFile {
            // The process may change its folder before the file is removed.
            path: std::path::absolute(path)?,
            id: hidden.id,
        };
        socket.set_nonblocking(true)?;
        let listener = Unregistered::New(socket.into());
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
    fs::symlink_metadata(path).map(|file| id_of(&file))
}

fn id_of(file: &fs::Metadata) -> FileId {
    (file.dev(), file.ino())
}

/// Binds a socket to a free name in the folder of `path`.
fn bind_hidden(socket: &Socket, path: &Path) -> io::Result<SocketFile> {
    // Servers that ended during this function have left such files.
    const MAX_NAMES: usize = 1_000;
    let mut names = (0..MAX_NAMES).map(|number| path.with_file_name(format!(".{number}")));
    loop {
        let path = names.next().ok_or(io::ErrorKind::AddrInUse)?;
        match socket.bind(&SockAddr::unix(&path)?) {
            Ok(()) => {
                let id = file_id(&path)?;
                return Ok(SocketFile { path, id });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a socket file the name `path` as well, in place of a file at which nobody listens.
fn link(hidden: &Path, path: &Path) -> io::Result<()> {
    let mut linked = fs::hard_link(hidden, path);
    if is_taken(&linked) && remove_stale(hidden, path)? {
        linked = fs::hard_link(hidden, path);
    }
    if is_taken(&linked) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    linked
}

fn is_taken(linked: &io::Result<()>) -> bool {
    let error = linked.as_ref().err();
    error.is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
}

/// Removes a socket file at which nobody listens. Returns `true` if `path` may be free now.
fn remove_stale(hidden: &Path, path: &Path) -> io::Result<bool> {
    let Some(stale) = find_stale(path)? else {
        return Ok(false);
    };
    // Another server may have put its own file there since then. So the file is moved, which only one server can do,
    // and put back if it is not the stale file.
    let moved = hidden.with_extension("stale");
    match fs::rename(path, &moved) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        renamed => renamed?,
    }
    if file_id(&moved)? != stale {
        // If there is another file at `path` already, that file is in use.
        fs::hard_link(&moved, path).ok();
    }
    fs::remove_file(moved).map(|()| true)
}

/// Returns the file at `path` if it is a socket at which nobody listens.
fn find_stale(path: &Path) -> io::Result<Option<FileId>> {
    let Ok(file) = fs::symlink_metadata(path) else {
        return Ok(None);
    };
    if !file.file_type().is_socket() {
        return Ok(None);
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server with a full backlog would make a blocking connect(2) wait.
    probe.set_nonblocking(true)?;
    let refused = probe.connect(&SockAddr::unix(path)?);
    let is_stale = refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    Ok(is_stale.then(|| id_of(&file)))
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
        // The peer may have left, which is not an error of the listener.
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

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn one_of_many_that_bind_at_once_listens() {
        const SERVERS: usize = 4;
        let name = format!("tcs-bind-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a free name");
        let path = folder.join("sock");
        for round in 0..200 {
            // In each second round, there is the file of a server that is gone.
            if round % 2 == 0 {
                drop(net::UnixListener::bind(&path).expect("a free path"));
            }
            let start = Barrier::new(SERVERS);
            let bound = thread::scope(|scope| {
                let bind = || {
                    start.wait();
                    UnixSocketListener::bind(&path, 0o600)
                };
                let servers = [(); SERVERS].map(|()| scope.spawn(bind));
                servers.map(|server| server.join().expect("no panic"))
            });
            assert_eq!(bound.iter().flatten().count(), 1, "{bound:?}");
            for error in bound.iter().filter_map(|bound| bound.as_ref().err()) {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
            net::UnixStream::connect(&path).expect("it listens");
        }
        fs::remove_dir(&folder).expect("nothing is left in it");
    }
}
