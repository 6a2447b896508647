//! `tcs call` over TLS and Unix sockets, and behind a PROXY header.

use tcs::{
    ConcurrentServer, server_protocol,
    transport::{ProxyHeader, UnixSocketListener},
};
use tcs_tests::{scratch_path, start, tls};

use crate::{call::Greet, fails, printed, ran};

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
    assert_eq!(
        printed(ran(&["call", "--unix", path, "Ann"]).await),
        ["Hello, Ann!"]
    );
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
