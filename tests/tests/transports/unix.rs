//! Unix sockets: their file, and what is known of their peers.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::{Path, PathBuf},
    thread,
};

#[cfg(target_os = "linux")]
use socket2::{Domain, SockAddr, Socket, Type};
use tcs::{
    ConcurrentServer, Peer,
    framing::LengthPrefixed,
    protocol::ServerProtocol,
    server::{Report, ServerHandle},
    server_protocol,
    transport::{Listener, UnixSocketListener},
};
use tcs_tests::{Heard, RawPeer, adds_up, code, gate, scratch_path, start, tester, within};
use tokio::{
    net::{UnixListener, UnixStream, unix::UCred},
    runtime::Handle,
    sync::oneshot,
    task::JoinHandle,
};

/// A server at a socket file.
struct Served {
    path: PathBuf,
    handle: ServerHandle,
    task: JoinHandle<tcs::Result<Report>>,
}

async fn serve<P: ServerProtocol>(protocol: P, path: PathBuf) -> Served {
    let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
    let bound = ConcurrentServer::new(protocol).listener(socket).bind();
    let bound = bound.await.expect("good settings");
    Served {
        path,
        handle: bound.handle(),
        task: tokio::spawn(bound.listen()),
    }
}

impl Served {
    async fn peer(&self) -> RawPeer {
        connect(&self.path).await
    }

    async fn stopped(self) -> Report {
        self.handle.stop();
        let report = within(self.task).await.expect("no panic").expect("it ends");
        adds_up(&report);
        report
    }
}

async fn connect(path: &Path) -> RawPeer {
    let stream = within(UnixStream::connect(path)).await;
    RawPeer::over(stream.expect("it listens"))
}

fn echo() -> impl ServerProtocol {
    tester::<LengthPrefixed>(&gate())
}

#[tokio::test]
async fn socket_file_that_a_server_left_is_replaced() {
    let path = scratch_path("sock");
    // The listener of std does not remove its file.
    drop(StdListener::bind(&path).expect("a free path"));
    assert!(path.exists());
    let server = serve(echo(), path).await;
    assert_eq!(
        within(server.peer().await.ask("a")).await,
        Heard::message("a")
    );
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn file_of_another_kind_is_kept() {
    let path = scratch_path("txt");
    fs::write(&path, "mine").expect("a writable folder");
    let error = UnixSocketListener::bind(&path, 0o600).expect_err("it is not a socket");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");

    let link = scratch_path("link");
    std::os::unix::fs::symlink(&path, &link).expect("a free path");
    UnixSocketListener::bind(&link, 0o600).expect_err("it is a link");
    assert!(link.is_symlink());
    for path in [path, link] {
        fs::remove_file(path).expect("it is there");
    }
}

/// A path that fits the address of a socket can be used, and only such a path: nobody could connect to another.
#[tokio::test]
async fn path_is_accepted_up_to_the_length_at_which_a_peer_can_connect() {
    let folder = scratch_path("d");
    let shorter = folder.as_os_str().len() + "/".len();
    fs::create_dir(&folder).expect("a free path");
    for (len, fits) in [(107, true), (108, false)] {
        let path = folder.join("s".repeat(len - shorter));
        assert_eq!(
            SockAddr::unix(&path).is_ok(),
            fits || !cfg!(target_os = "linux")
        );
        match UnixSocketListener::bind(&path, 0o600) {
            Ok(_socket) => drop(connect(&path).await),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            }
        }
        assert!(!path.exists());
    }
    // The name in the folder that the socket is bound to is as short as possible.
    let deep = folder.join("d".repeat(107 - "/12".len() - shorter));
    fs::create_dir(&deep).expect("a free path");
    let path = deep.join("12");
    let _socket = UnixSocketListener::bind(&path, 0o600).expect("it fits");
    drop(connect(&path).await);
    fs::remove_file(path).expect("it is there");
    fs::remove_dir(deep).expect("it is empty");
    fs::remove_dir(folder).expect("it is empty");
}

#[tokio::test]
async fn socket_of_another_server_is_in_use() {
    let server = serve(echo(), scratch_path("sock")).await;
    let error = UnixSocketListener::bind(&server.path, 0o600).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    // The attempt has neither removed the file nor ended the server.
    assert_eq!(
        within(server.peer().await.ask("a")).await,
        Heard::message("a")
    );
    assert_eq!(server.stopped().await.requests.served, 1);
}

/// A connect(2) that blocks would wait for room in the backlog.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn socket_of_a_server_with_a_full_backlog_is_in_use() {
    let path = scratch_path("sock");
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let addr = SockAddr::unix(&path).expect("a short path");
    busy.bind(&addr).expect("a free path");
    busy.listen(1).expect("it is bound");
    let mut waiting = Vec::new();
    let full = loop {
        match within(UnixStream::connect(&path)).await {
            Ok(peer) => waiting.push(peer),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    // On a thread of its own, so that the test fails if it waits.
    let (runtime, bound_at) = (Handle::current(), path.clone());
    let (sender, bound) = oneshot::channel();
    thread::spawn(move || {
        let _entered = runtime.enter();
        sender
            .send(UnixSocketListener::bind(bound_at, 0o600).map(drop))
            .ok();
    });
    let error = within(bound).await.expect("no panic").expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    fs::remove_file(path).expect("it is there");
}

#[tokio::test]
async fn many_peers_can_wait_until_they_are_accepted() {
    let path = scratch_path("sock");
    let _socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(connect(&path).await);
    }
}

#[tokio::test]
async fn file_has_its_permissions_whatever_they_are() {
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let path = scratch_path("sock");
        let _socket = UnixSocketListener::bind(&path, mode).expect("a free path");
        let permissions = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(permissions.mode() & 0o7777, mode);
    }
}

#[tokio::test]
async fn file_is_removed_when_the_server_ends() {
    let path = scratch_path("sock");
    serve(echo(), path.clone()).await.stopped().await;
    assert!(!path.exists());

    let server = serve(echo(), path.clone()).await;
    server.task.abort();
    assert!(
        within(server.task)
            .await
            .expect_err("aborted")
            .is_cancelled()
    );
    assert!(!path.exists());

    drop(UnixSocketListener::bind(&path, 0o600).expect("a free path"));
    assert!(!path.exists());
}

#[tokio::test]
async fn file_of_a_later_server_is_kept_when_the_earlier_one_ends() {
    let path = scratch_path("sock");
    let earlier = serve(echo(), path.clone()).await;
    let mut peer = earlier.peer().await;
    assert_eq!(within(peer.ask("a")).await, Heard::message("a"));
    // As a restart without downtime does it.
    fs::remove_file(&path).expect("it is there");
    let later = serve(echo(), path.clone()).await;
    earlier.handle.stop();
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    drop(peer);
    assert_eq!(earlier.stopped().await.requests.served, 1);
    assert_eq!(
        within(later.peer().await.ask("b")).await,
        Heard::message("b")
    );
    assert_eq!(later.stopped().await.requests.served, 1);
    assert!(!path.exists());
}

#[server_protocol]
fn whoami(_request: &str, user: UCred, peer: &Peer) -> String {
    let pid = user.pid().unwrap_or_default();
    format!("{} {} {pid} {peer}", user.uid(), user.gid())
}

#[tokio::test]
async fn credentials_of_the_peer_are_a_parameter() {
    let known = UnixStream::pair().expect("two sockets").0.peer_cred();
    let known = known.expect("they are this process's");
    let server = serve(Whoami, scratch_path("sock")).await;
    let Heard::Message(said) = within(server.peer().await.ask("")).await else {
        panic!("a reply");
    };
    let (uid, gid) = (known.uid(), known.gid());
    let pid = known.pid().unwrap_or_default();
    assert_eq!(
        String::from_utf8(said).expect("text"),
        format!("{uid} {gid} {pid} user {uid}")
    );
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[tokio::test]
async fn listener_of_tokio_has_the_credentials_too() {
    let path = scratch_path("sock");
    let listener = UnixListener::bind(&path).expect("a free path");
    let bound = ConcurrentServer::new(Whoami).listener(listener).bind();
    let bound = bound.await.expect("good settings");
    let (handle, task) = (bound.handle(), tokio::spawn(bound.listen()));
    let mut peer = connect(&path).await;
    assert!(matches!(within(peer.ask("")).await, Heard::Message(_)));
    drop(peer);
    handle.stop();
    let report = within(task).await.expect("no panic").expect("it ends");
    assert_eq!(report.requests.served, 1);
    fs::remove_file(path).expect("tokio leaves it");
}

#[tokio::test]
async fn function_that_needs_credentials_rejects_peers_over_tcp() {
    let server = start(ConcurrentServer::new(Whoami)).await;
    let mut peer = server.peer().await;
    let text = "this function needs the user of its peer, and there is none";
    let rejected = Heard::Control(code::BAD_REQUEST, text.to_owned());
    assert_eq!(within(peer.ask("")).await, rejected);
    // The connection goes on.
    assert_eq!(within(peer.ask("")).await, rejected);
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 2);
}

#[server_protocol]
fn address(_request: &str, addr: std::net::SocketAddr) -> String {
    addr.to_string()
}

#[tokio::test]
async fn function_that_needs_an_address_rejects_peers_over_a_unix_socket() {
    let server = serve(Address, scratch_path("sock")).await;
    let text = "this function needs the address of its peer, and there is none";
    let rejected = Heard::Control(code::BAD_REQUEST, text.to_owned());
    assert_eq!(within(server.peer().await.ask("")).await, rejected);
    assert_eq!(server.stopped().await.requests.rejected, 1);
}

#[test]
fn socket_is_bound_before_there_is_a_runtime() {
    use std::io::{Read as _, Write as _};

    let path = scratch_path("sock");
    let socket = UnixSocketListener::bind(&path, 0o600).expect("a free path");
    let server = ConcurrentServer::new(tester::<LengthPrefixed>(&gate())).listener(socket);
    let server = server.start().expect("it starts");
    let mut peer = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    peer.write_all(&tcs_tests::frame("Ann")).expect("it reads");
    let mut reply = [0; 7];
    peer.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, *b"\0\0\0\x03Ann");
    drop(peer);
    assert_eq!(server.stop().expect("it stops").requests.served, 1);
}

#[test]
fn file_of_a_relative_path_is_removed_wherever_the_process_is_then() {
    let path = scratch_path("sock");
    let depth = std::env::current_dir()
        .expect("a folder")
        .components()
        .count();
    let relative = "../".repeat(depth) + path.to_str().expect("UTF-8").trim_start_matches('/');
    let socket = UnixSocketListener::bind(relative, 0o600).expect("a free path");
    // This process does not change its folder, because other tests run in it.
    let name = Listener::name(&socket);
    assert!(Path::new(&name).is_absolute(), "{name}");
    assert!(path.exists());
    drop(socket);
    assert!(!path.exists());
}
