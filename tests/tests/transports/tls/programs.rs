//! Other implementations of TLS as peers.

use std::process::Stdio;

use tcs::{ConcurrentServer, framing::Lines};
use tcs_tests::{
    Running, gate,
    process::{Process, is_missing},
    start, tester,
    tls::{Identity, Root},
    within,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

async fn serve(identity: &Identity) -> Running {
    let echo = ConcurrentServer::new(tester::<Lines>(&gate()));
    start(echo.tls(identity.server())).await
}

/// Sends lines with `openssl s_client`, and returns what it prints and its exit code.
async fn openssl(server: &Running, arguments: &[&str], lines: &str) -> (String, Option<i32>) {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &server.addr().to_string()])
        .args(["-quiet", "-no_ign_eof", "-verify_return_error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It has ended already if it does not trust the server.
    within(stdin.write_all(lines.as_bytes())).await.ok();
    let mut printed = String::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    let expected = lines.len();
    let mut bytes = vec![0; expected];
    let mut count = 0;
    while count < expected {
        match within(stdout.read(&mut bytes[count..]))
            .await
            .expect("a pipe")
        {
            0 => break,
            more => count += more,
        }
    }
    printed.push_str(&String::from_utf8_lossy(&bytes[..count]));
    // Its input ends, so it closes.
    drop(stdin);
    let status = within(child.wait()).await.expect("it ends");
    (printed, status.code())
}

#[tokio::test]
async fn openssl_is_served_in_both_versions() {
    if is_missing("openssl") {
        return;
    }
    let root = Root::new();
    let server = serve(&root.issue("localhost")).await;
    let file = root.file();
    let roots = file.display().to_string();
    let trusts = ["-CAfile", &roots, "-verify_hostname", "localhost"];
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [&trusts[..], &[version]].concat();
        let printed = openssl(&server, &arguments, "one\ntwo\n").await;
        assert_eq!(printed, ("one\ntwo\n".to_owned(), Some(0)));
    }
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (2, 4));
}

#[tokio::test]
async fn openssl_does_not_trust_another_root_or_name() {
    if is_missing("openssl") {
        return;
    }
    let (root, other) = (Root::new(), Root::new());
    let server = serve(&root.issue("localhost")).await;
    let files = (root.file(), other.file());
    let (roots, others) = (files.0.display().to_string(), files.1.display().to_string());
    for arguments in [
        ["-CAfile", &others, "-verify_hostname", "localhost"],
        ["-CAfile", &roots, "-verify_hostname", "elsewhere"],
    ] {
        let (printed, code) = openssl(&server, &arguments, "one\n").await;
        assert_eq!(printed, "");
        assert_ne!(code, Some(0));
    }
    assert_eq!(server.stopped().await.requests.received, 0);
}

#[tokio::test]
async fn python_is_served_and_both_ends_close_properly() {
    if is_missing("python3") {
        return;
    }
    let root = Root::new();
    let server = serve(&root.issue("localhost")).await;
    let (port, roots) = (server.addr().port().to_string(), root.file());
    let client = Process::python("tls_client.py", [&port, &roots.display().to_string()]);
    let printed = client.finished().await.succeeded();
    assert_eq!(
        printed,
        ["TLSv1.3", "200000 bytes come back", "the end is announced"]
    );
    let report = server.stopped().await;
    assert_eq!((report.connections.closed, report.requests.served), (1, 1));
}
