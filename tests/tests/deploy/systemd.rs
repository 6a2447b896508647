//! Sockets that systemd has opened, and what systemd is told.

use std::{
    ffi::OsStr,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};

use tcs_tests::{
    Heard, RawPeer, code, frame, own_addrs,
    process::{Process, connect, example_path, is_missing},
    scratch_path, within,
};
use tokio::net::UnixDatagram;

use crate::stdio;

async fn next(notifications: &UnixDatagram) -> String {
    let mut message = vec![0; 1024];
    let len = within(notifications.recv(&mut message)).await;
    message.truncate(len.expect("it is bound"));
    String::from_utf8(message).expect("text")
}

#[tokio::test]
async fn sockets_of_systemd_are_served_and_systemd_is_told() {
    // The program of `docs/deploy.md`.
    sockets_are_served(&[env!("CARGO_BIN_EXE_greet").as_ref()]).await;
    sockets_are_served(&[example_path("upgrade").as_ref(), "worker".as_ref()]).await;
}

async fn sockets_are_served(program: &[&OsStr]) {
    const TOOL: &str = "systemd-socket-activate";
    if is_missing(TOOL) {
        return;
    }
    let ([addr], path, notify) = (own_addrs(), scratch_path("sock"), scratch_path("notify"));
    let notifications = UnixDatagram::bind(&notify).expect("a free path");
    let (socket, notify) = (path.display(), notify.display());
    // The Unix socket comes first, so it exists when the port does.
    let arguments = format!("-l {socket} -l {addr} -E NOTIFY_SOCKET={notify}");
    let arguments = arguments.split(' ').map(OsStr::new);
    let process = Process::start(TOOL, arguments.chain(program.iter().copied()));

    // The first connection starts the program.
    let mut over_tcp = RawPeer::of(connect(addr).await);
    let mut over_unix = stdio::connect(&path).await;
    for peer in [&mut over_tcp, &mut over_unix] {
        let Heard::Message(reply) = within(peer.ask("Ann")).await else {
            panic!("no reply");
        };
        assert!(reply.starts_with(b"Hello, Ann!"));
    }
    assert_eq!(next(&notifications).await, "READY=1\n");
    process.signal("TERM").await;
    assert_eq!(next(&notifications).await, "STOPPING=1\n");
    for mut peer in [over_tcp, over_unix] {
        assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    }
    let finished = process.finished().await;
    assert!(finished.status.success(), "{finished:?}");
}

#[tokio::test]
async fn systemd_is_told_when_the_lame_duck_phase_begins() {
    let path = scratch_path("notify");
    let notifications = UnixDatagram::bind(&path).expect("a free path");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stubborn"));
    command
        .args(["wait", "lame-duck"])
        .env("NOTIFY_SOCKET", path);
    let mut process = Process::run(&mut command);
    let addr = process.line().await.parse().expect("an address");
    assert_eq!(next(&notifications).await, "READY=1\n");
    process.signal("TERM").await;
    assert_eq!(next(&notifications).await, "STOPPING=1\n");
    // It serves as before.
    let mut peer = RawPeer::connect(addr).await;
    within(peer.send(frame(b"\xff"))).await;
    assert_eq!(within(peer.hear()).await.kind(), code::BAD_REQUEST);
    process.signal("TERM").await;
    assert_eq!(process.finished().await.status.code(), Some(1));
}

#[tokio::test]
async fn descriptor_that_does_not_listen_is_an_error_that_says_so() {
    let (connected, _peer) = UnixStream::pair().expect("two sockets");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    // As systemd passes it with `Accept=yes`.
    let connected_tcp = TcpStream::connect(addr).expect("it listens");
    for input in [
        Stdio::null(),
        OwnedFd::from(connected).into(),
        OwnedFd::from(connected_tcp).into(),
    ] {
        let mut command = tokio::process::Command::new(example_path("upgrade"));
        command.arg("worker").stdin(input);
        command
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDS_FIRST_FD", "0");
        let finished = Process::run(&mut command).finished().await;
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains("LISTEN_FDS"), "{finished:?}");
    }
}

/// Such a program would otherwise listen at an address that nobody asked for, and say that it is ready.
#[tokio::test]
async fn start_without_sockets_is_an_error_that_says_so() {
    let mut foreign = tokio::process::Command::new(example_path("upgrade"));
    // The sockets of another process.
    foreign.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let mut without = tokio::process::Command::new(example_path("upgrade"));
    for command in [&mut without, &mut foreign] {
        command.arg("worker").stdin(Stdio::null());
        let finished = Process::run(command).finished().await;
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let reason = "LISTEN_FDS has no sockets for this process";
        assert!(finished.stderr.contains(reason), "{finished:?}");
    }
}
