//! `tcs call`, `tcs describe` and `tcs listen`, as programs.

mod call;
mod completions;
mod describe;
mod hostile;
mod listen;
mod pages;
mod programs;
mod transports;

use std::process::Stdio;

use tcs_tests::{
    Scratch,
    process::{Finished, Process},
    within,
};
use tokio::{io::AsyncWriteExt as _, net::TcpListener, process::Command};

/// Starts `tcs` with these arguments.
fn tcs(arguments: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
    Process::run(command.args(arguments).stdin(Stdio::null()))
}

/// What `tcs` did.
#[derive(Debug, PartialEq)]
struct Ran {
    code: i32,
    stdout: Vec<String>,
    stderr: String,
}

impl From<Finished> for Ran {
    fn from(finished: Finished) -> Self {
        Self {
            code: finished.status.code().expect("it is not killed"),
            stdout: finished.stdout,
            stderr: finished.stderr,
        }
    }
}

/// Runs `tcs` with these arguments to its end.
async fn ran(arguments: &[&str]) -> Ran {
    tcs(arguments).finished().await.into()
}

/// Runs `tcs` with these bytes on its standard input.
async fn ran_with(arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
    command.args(arguments);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it is built");
    let mut stdin = child.stdin.take().expect("it is piped");
    within(stdin.write_all(input)).await.expect("it reads");
    drop(stdin);
    let output = within(child.wait_with_output()).await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ran {
        code: output.status.code().expect("it is not killed"),
        stdout: text(output.stdout).lines().map(str::to_owned).collect(),
        stderr: text(output.stderr),
    }
}

/// Runs `tcs`, and returns what it prints if all is well.
#[track_caller]
fn printed(ran: Ran) -> Vec<String> {
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.stdout
}

/// Checks the exit code and what is said on standard error.
#[track_caller]
fn fails(ran: &Ran, code: i32, said: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains(said), "no {said:?} in {ran:?}");
}

/// `tcs listen`, once it listens.
struct Peer {
    process: Process,
    address: String,
    // Removed once it was read.
    _script: Scratch,
}

/// Starts a scripted peer.
async fn scripted(script: &str, options: &[&str]) -> Peer {
    let script = Scratch::new(script);
    let arguments = [&["listen", "--script", script.path()], options].concat();
    let mut process = tcs(&arguments);
    let line = process.line().await;
    let address = line.strip_prefix("listening on ").expect("it says where");
    Peer {
        address: address.to_owned(),
        process,
        _script: script,
    }
}

impl Peer {
    /// Waits until the script was followed.
    async fn followed(self) {
        let ran = self.ended().await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    }

    async fn ended(self) -> Ran {
        self.process.finished().await.into()
    }
}

/// Listens for what a test answers itself.
async fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it listens").to_string();
    (listener, address)
}
