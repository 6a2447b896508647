//! `tcs call` over TLS and Unix sockets, and behind a PROXY header.

use tcs::{
    ConcurrentServer, server_protocol,
    transport::{ProxyHeader, UnixSocketListener},
};
use tcs_tests::{Scratch, process::Process, scratch_path, start, tls};

use crate::{call::Greet, fails, printed, ran, scripted, tcs};

#[tokio::test]
async fn tls_trusts_what_it_is_told() {
    let root = tls::Root::new();
    let tls = root.issue("localhost").server();
    let server = start(ConcurrentServer::new(Greet).tls(tls)).await;
    let address = format!("localhost:{}", server.addr().port());
    let file = root.file();
    let ca = file.to_str().expect("UTF-8");
    assert_eq!(
        printed(ran(&["call", &address, "--tls", "--ca", ca, "Ann"]).await),
        ["Hello, Ann!"]
    );
    let url = format!("tls://{address}");
    assert_eq!(
        printed(ran(&["call", &url, "--insecure", "Ann"]).await),
        ["Hello, Ann!"]
    );
    fails(
        &ran(&["call", &address, "--tls", "Ann"]).await,
        3,
        "trust its issuer with --ca FILE",
    );
    let other = [
        "call",
        &address,
        "--tls",
        "--ca",
        ca,
        "--server-name",
        "other",
        "Ann",
    ];
    fails(&ran(&other).await, 3, "--server-name");
    fails(
        &ran(&["call", &address, "--ca", ca, "Ann"]).await,
        2,
        "need --tls",
    );
    fails(
        &ran(&["call", &address, "--timeout", "9s", "Ann"]).await,
        5,
        "add --tls",
    );
    server.stopped().await;
}

#[server_protocol]
fn who(_request: &str, peer: &tcs::Peer) -> String {
    peer.to_string()
}

#[tokio::test]
async fn proxy_header_names_the_client() {
    let header = ProxyHeader::from_networks(&["127.0.0.0/8"]).expect("a network");
    let server = start(ConcurrentServer::new(Who).handshake(header)).await;
    let address = server.addr().to_string();
    let arguments = ["call", &address, "--proxy", "192.0.2.1:4000", "x"];
    assert_eq!(printed(ran(&arguments).await), ["192.0.2.1:4000"]);
    server.stopped().await;
}

#[tokio::test]
async fn unix_sockets_have_paths() {
    let path = scratch_path("sock");
    let listener = UnixSocketListener::bind(&path, 0o600).expect("a path");
    let bound = ConcurrentServer::new(Greet)
        .listener(listener)
        .bind()
        .await
        .expect("it binds");
    let handle = bound.handle();
    let serving = tokio::spawn(bound.listen());
    let path = path.to_str().expect("UTF-8");
    let address = format!("unix:{path}");
    assert_eq!(
        printed(ran(&["call", &address, "Ann"]).await),
        ["Hello, Ann!"]
    );
    handle.stop();
    serving.await.expect("no panic").expect("it ends well");
    fails(
        &ran(&["call", &address, "Ann"]).await,
        3,
        "nothing listens there",
    );
}

/// Starts a command that says where it listens.
async fn started(arguments: &[&str]) -> (Process, String) {
    let mut process = tcs(arguments);
    let line = process.line().await;
    let address = line.split_whitespace().nth(2).expect("it says where");
    (process, address.to_owned())
}

/// Returns the address of a Unix socket that is not there yet.
fn unix_address() -> String {
    format!("unix:{}", scratch_path("sock").display())
}

#[tokio::test]
async fn script_is_followed_over_tls_and_unix_sockets() {
    let root = tls::Root::new();
    let identity = root.issue("localhost");
    let [file, cert, key] = [root.file(), identity.certificate, identity.key];
    let script = "expect Ann\nsend one\naccept\nexpect Bob\nhalf-close\nexpect-end\n\
        accept\nexpect-any\nstall 1h\nreset";
    let at = unix_address();
    let tls = ["--cert", cert.path(), "--key", key.path()];
    let unix = [at.as_str()];
    for (options, trust) in [
        (&tls[..], &["--tls", "--ca", file.path()][..]),
        (&unix, &[]),
    ] {
        let peer = scripted(script, options).await;
        // The name in the certificate.
        let address = peer.address.replace("127.0.0.1", "localhost");
        let call = |text, more| [&["call", &address, text], trust, more].concat();
        assert_eq!(printed(ran(&call("Ann", &[])).await), ["one"]);
        fails(&ran(&call("Bob", &[])).await, 6, "closed");
        fails(&ran(&call("Cid", &["--timeout", "50ms"])).await, 4, "50ms");
        peer.followed().await;
    }
    let wrong = [
        "listen",
        "--echo",
        "--cert",
        key.path(),
        "--key",
        key.path(),
    ];
    fails(&ran(&wrong).await, 2, "files in PEM");
    fails(
        &ran(&["listen", "--echo", "unix:/nowhere/x"]).await,
        3,
        "or unix:PATH",
    );
    let peer = scripted("expect Ann", &tls).await;
    fails(&ran(&["call", &peer.address, "Ann"]).await, 5, "add --tls");
    fails(&peer.ended().await, 1, "no TLS with the client");
}

#[tokio::test]
async fn reset_goes_below_tls() {
    let root = tls::Root::new();
    let identity = root.issue("localhost");
    let [cert, key] = [identity.certificate, identity.key];
    let tls = ["--cert", cert.path(), "--key", key.path()];
    let peer = scripted("expect Ann\nreset", &tls).await;
    let call = ["call", &peer.address, "--tls", "--insecure", "Ann"];
    fails(&ran(&call).await, 6, "reset");
    peer.followed().await;
}

#[tokio::test]
async fn echo_serves_tls_and_the_path_that_another_run_has_left() {
    let root = tls::Root::new();
    let identity = root.issue("localhost");
    let [cert, key] = [identity.certificate, identity.key];
    let at = unix_address();
    // The second server looks whether anyone listens, which is a connection.
    let listen = ["listen", &at, "--echo", "--connections", "2"];
    for tls in [&["--cert", cert.path(), "--key", key.path()][..], &[]] {
        let (server, address) = started(&[&listen, tls].concat()).await;
        let wrong = tcs(&listen).finished().await.into();
        fails(&wrong, 3, "end what listens there");
        if tls.is_empty() {
            assert_eq!(printed(ran(&["call", &address, "Ann"]).await), ["Ann"]);
        } else {
            fails(
                &ran(&["call", &address, "--timeout", "9s", "Ann"]).await,
                5,
                "add --tls",
            );
        }
        drop(server.finished().await);
    }
}

#[tokio::test]
async fn proxy_decrypts_and_passes_between_transports() {
    let root = tls::Root::new();
    let tls = root.issue("localhost").server();
    let secure = start(ConcurrentServer::new(Greet).tls(tls)).await;
    let file: Scratch = root.file();
    let upstream = format!("tls://localhost:{}", secure.addr().port());
    let (mut first, address) =
        started(&["proxy", &unix_address(), &upstream, "--ca", file.path()]).await;
    let (mut second, address) = started(&["proxy", "127.0.0.1:0", &address]).await;
    let long = "x".repeat(1 << 20);
    let requests = Scratch::new(&format!("Ann\n{long}\n"));
    let call = [
        "call",
        &address,
        "--file",
        requests.path(),
        "--pipeline",
        "2",
    ];
    let replies = ["Hello, Ann!".to_owned(), format!("Hello, {long}!")];
    assert_eq!(printed(ran(&call).await), replies);
    for proxy in [&mut first, &mut second] {
        while !proxy
            .line()
            .await
            .ends_with("#1 <- message 11 \"Hello, Ann!\"")
        {}
    }
    let (mut wrong, address) = started(&["proxy", "127.0.0.1:0", &upstream]).await;
    // The proxy resets it, which the client may notice as it connects (3), or later (6).
    let code = ran(&["call", &address, "Ann"]).await.code;
    assert!(matches!(code, 3 | 6), "{code}");
    assert!(wrong.line().await.contains("connected"));
    assert!(wrong.line().await.contains("certificate"));
    assert!(
        wrong
            .line()
            .await
            .contains("trust its issuer with --ca FILE")
    );
    secure.stopped().await;
}

#[cfg(unix)]
#[tokio::test]
async fn file_of_a_unix_socket_is_private_and_removed_at_the_end() {
    use std::os::unix::fs::PermissionsExt as _;

    for command in [&["listen", "--echo"][..], &["proxy", "localhost:1"]] {
        let path = scratch_path("sock");
        // What another run has left is replaced.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let address = format!("unix:{}", path.display());
        let arguments = match command {
            ["proxy", upstream] => vec!["proxy", &address, upstream],
            _ => [command, &[address.as_str()]].concat(),
        };
        let mut process = tcs(&arguments);
        process.line().await;
        let file = std::fs::metadata(&path).expect("it listens");
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{command:?}");
        process.interrupt().await;
        assert_eq!(process.finished().await.status.code(), Some(0));
        assert!(!path.exists(), "{command:?}");
    }
}

#[tokio::test]
async fn proxy_says_what_to_do_about_a_server_that_it_cannot_reach() {
    let (listener, closed) = crate::listening().await;
    drop(listener);
    for (upstream, hint) in [
        (&*closed, "nothing listens there"),
        ("unix:/nowhere", "nothing listens there"),
        ("localhost:x", "write the address as HOST:PORT"),
    ] {
        let (mut proxy, address) = started(&["proxy", "127.0.0.1:0", upstream]).await;
        let _gone = ran(&["call", &address, "Ann"]).await;
        assert!(proxy.line().await.contains("connected"));
        let failed = proxy.line().await;
        assert!(failed.contains("cannot connect to"), "{failed}");
        let line = proxy.line().await;
        assert!(line.contains(hint), "no {hint:?} in {line}");
    }
}
