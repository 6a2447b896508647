//! A program that serves its stdin and stdout, under `socat`.

use std::{path::Path, process::Stdio};

use tcs::Connection;
use tcs_tests::{
    Heard, RawPeer,
    client::Prefixed,
    frame,
    process::{Process, is_missing},
    scratch_path, within,
};
use tokio::{io::join, net::UnixStream, process::Command, time};

/// Connects to a socket that a program creates; only trying shows when it listens.
pub(crate) async fn connect(path: &Path) -> RawPeer {
    let connected = async {
        let mut tries = time::interval(time::Duration::from_millis(10));
        loop {
            tries.tick().await;
            if let Ok(stream) = UnixStream::connect(path).await {
                return RawPeer::over(stream);
            }
        }
    };
    within(connected).await
}

#[tokio::test]
async fn stdio_serves_one_peer_per_process() {
    if is_missing("socat") {
        return;
    }
    // Over a socket, which is both stdin and stdout, and over two pipes.
    for options in ["", ",pipes"] {
        let path = scratch_path("sock");
        let listen = format!("UNIX-LISTEN:{},fork", path.display());
        let program = format!("EXEC:{}{options}", env!("CARGO_BIN_EXE_stdio"));
        let _socat = Process::start("socat", [listen, program]);
        let mut first = connect(&path).await;
        let mut second = connect(&path).await;
        for name in ["Ann", "Bob"] {
            for peer in [&mut first, &mut second] {
                let reply = within(peer.ask(name)).await;
                assert_eq!(reply, Heard::message(&format!("Hello, {name}!")));
            }
        }
        // The last request and the end: the reply comes, and the process ends with its peer.
        for mut peer in [first, second] {
            within(peer.send(frame("Cleo"))).await;
            within(peer.finish()).await;
            assert_eq!(within(peer.rest()).await, frame("Hello, Cleo!"));
        }
    }
}

#[tokio::test]
async fn stdio_ends_with_its_input() {
    let program = env!("CARGO_BIN_EXE_stdio");
    // Its stdin is empty.
    let printed = Process::start(program, [""; 0]).finished().await;
    assert_eq!(printed.succeeded(), [""; 0]);
}

#[tokio::test]
async fn client_calls_a_program_over_its_stdin_and_stdout() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_stdio"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it is built");
    let stdin = program.stdin.take().expect("it is piped");
    let stdout = program.stdout.take().expect("it is piped");
    let mut connection = Connection::over(join(stdout, stdin));
    for name in ["Ann", "Bob"] {
        let reply = within(connection.call::<Prefixed>(name)).await;
        assert_eq!(reply.expect("a reply"), format!("Hello, {name}!"));
    }
    // The program ends with its input.
    within(connection.close()).await;
    let status = within(program.wait()).await.expect("it ends");
    assert!(status.success(), "{status}");
}
