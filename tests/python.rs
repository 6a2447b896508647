//! The Python library and this one understand each other, over `framing = Raw`.
//!
//! The scripts in the folder `python` do on a socket what that library does, and nothing else.

use std::net::SocketAddr;

use tcs::{
    Client, ConcurrentServer, IterativeServer, OnceServer, Raw, client_protocol, server_protocol,
};
use tcs_tests::{process::Process, start, within};

#[server_protocol(framing = Raw)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[client_protocol(request = |name: String| name.as_str(), framing = Raw)]
fn greeting(reply: &str) -> String {
    reply.to_owned()
}

/// The report of a server that so many peers asked once each, and that served them all.
fn served(peers: u64) -> String {
    format!(
        "requests received: {peers} ({peers} served, 0 failed, 0 refused, 0 cut); connections accepted: {peers} ({peers} closed, 0 cut)"
    )
}

/// Runs the client script and returns what it printed.
async fn ask(server: SocketAddr, text: &str) -> Vec<String> {
    let port = server.port().to_string();
    let client = Process::python("client.py", [&port, text]);
    client.finished().await.succeeded()
}

#[tokio::test]
async fn python_client_is_served_by_a_once_server() {
    let server = start(OnceServer::new(Greet)).await;
    assert_eq!(ask(server.addr(), "Zoë").await, ["Response: Hello, Zoë!"]);
    let report = server.finished().await;
    assert_eq!(report.to_string(), served(1));
}

#[tokio::test]
async fn python_clients_are_served_by_an_iterative_server() {
    let server = start(IterativeServer::new(Greet)).await;
    let addr = server.addr();
    for name in ["Ann", "Bob", "Zoë"] {
        assert_eq!(ask(addr, name).await, [format!("Response: Hello, {name}!")]);
    }
    let report = server.stopped().await;
    assert_eq!(report.to_string(), served(3));
}

#[tokio::test]
async fn python_clients_are_served_by_a_concurrent_server() {
    let server = start(ConcurrentServer::new(Greet)).await;
    let addr = server.addr();
    let (ann, bob, zoe) = tokio::join!(ask(addr, "Ann"), ask(addr, "Bob"), ask(addr, "Zoë"));
    assert_eq!(ann, ["Response: Hello, Ann!"]);
    assert_eq!(bob, ["Response: Hello, Bob!"]);
    assert_eq!(zoe, ["Response: Hello, Zoë!"]);
    let report = server.stopped().await;
    assert_eq!(report.to_string(), served(3));
}

#[server_protocol]
fn double(number: u32) -> Result<u32, &'static str> {
    number.checked_mul(2).ok_or("that is too much")
}

#[tokio::test]
async fn client_of_the_specification_is_served_over_the_default_framing() {
    let script = include_str!("python/prefixed_client.py");
    assert!(
        include_str!("../WIRE.md").contains(script),
        "it is shown there"
    );
    assert!(script.lines().count() <= 15, "it is short");
    let server = start(ConcurrentServer::new(Double)).await;
    let port = server.addr().port().to_string();
    let client = Process::python("prefixed_client.py", [&port, "1", "21"]);
    assert_eq!(client.finished().await.succeeded(), ["2", "42"]);
    for (request, refusal) in [
        ("4000000000", "refused (0x01): that is too much\n"),
        (
            "x",
            "refused (0x02): `x` is no u32: invalid digit found in string\n",
        ),
    ] {
        let client = Process::python("prefixed_client.py", [&port, request]);
        let finished = client.finished().await;
        assert_eq!(
            (finished.status.code(), finished.stderr.as_str()),
            (Some(1), refusal)
        );
    }
    assert_eq!(server.stopped().await.requests.received, 4);
}

#[tokio::test]
async fn of_a_request_in_pieces_the_first_is_answered() {
    let server = start(ConcurrentServer::new(Greet)).await;
    let addr = server.addr();
    let port = addr.port().to_string();
    let client = Process::python("pieces_client.py", [&port, "Ann", " and Bob"]);
    let printed = client.finished().await.succeeded();
    assert_eq!(printed, ["Response: Hello, Ann!"]);
    let report = server.stopped().await;
    assert_eq!(report.to_string(), served(1));
}

/// Asks a Python server on `host` for a greeting.
async fn greeted(host: &str, port: &str, name: &str) -> String {
    let name = name.to_owned();
    let client = Client::new(Greeting { name })
        .host(host)
        .port(port.parse().expect("a port"));
    within(client.open()).await.expect("a reply")
}

#[tokio::test]
async fn python_server_answers_our_client() {
    let mut server = Process::python("server.py", [""; 0]);
    let port = server.line().await;
    // It listens on IPv4 only; where `localhost` has an IPv6 address too, each is tried.
    assert_eq!(greeted("localhost", &port, "Zoë").await, "Hello, Zoë!");
    assert_eq!(server.finished().await.succeeded(), ["Request: Zoë"]);
}

#[tokio::test]
async fn reply_in_several_segments_arrives_whole() {
    // Small ones; and so many bytes that no single read can take them.
    for (count, length) in [(3, 7), (256, 4_096)] {
        let arguments = [count, length].map(|number: usize| number.to_string());
        let mut server = Process::python("segments_server.py", arguments);
        let port = server.line().await;
        let reply = greeted("127.0.0.1", &port, "Ann").await;
        let segments = (0..count).map(|number| (number % 10).to_string().repeat(length));
        assert!(
            reply == segments.collect::<String>(),
            "{} bytes",
            reply.len()
        );
        server.finished().await.succeeded();
    }
}
