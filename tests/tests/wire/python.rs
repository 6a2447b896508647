//! The Python library and this one understand each other, over `framing = Raw`; and a short client in
//! Python understands the default framing.
//!
//! The scripts in the folder `python` do on a socket what that library does, and nothing else.

use std::net::SocketAddr;

use tcs::{
    Client, ConcurrentServer, IterativeServer, OnceServer, client_protocol, framing::Raw,
    server_protocol,
};
use tcs_tests::{
    control, frame,
    process::{Process, is_missing},
    script::{closes, expects, expects_end, finishes, sends, serve},
    start, within,
};

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
        "requests received: {peers} ({peers} served, 0 failed, 0 rejected, 0 aborted); connections accepted: {peers} ({peers} closed, 0 aborted)"
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
    if is_missing("python3") {
        return;
    }
    let server = start(OnceServer::new(Greet)).await;
    assert_eq!(ask(server.addr(), "Zoë").await, ["Response: Hello, Zoë!"]);
    let report = server.finished().await;
    assert_eq!(report.to_string(), served(1));
}

#[tokio::test]
async fn python_clients_are_served_by_an_iterative_server() {
    if is_missing("python3") {
        return;
    }
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
    if is_missing("python3") {
        return;
    }
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

/// Runs the example `client.py`.
fn python_client(server: SocketAddr, requests: &[&str]) -> Process {
    let port = server.port().to_string();
    let arguments = [&*port].into_iter().chain(requests.iter().copied());
    Process::python("../../examples/client.py", arguments)
}

#[test]
fn client_of_the_specification_is_short() {
    let script = include_str!("../../../examples/client.py");
    let shown = format!("```python\n{script}```\n");
    assert!(
        include_str!("../../../WIRE.md").contains(&shown),
        "it differs"
    );
    assert!(script.lines().count() <= 15, "it is long");
}

#[tokio::test]
async fn client_of_the_specification_is_served_and_goes_on_after_rejections() {
    if is_missing("python3") {
        return;
    }
    let server = start(ConcurrentServer::new(Double)).await;
    let requests = ["1", "4000000000", "x", "", "21"];
    let client = python_client(server.addr(), &requests);
    assert_eq!(
        client.finished().await.succeeded(),
        [
            "2",
            "rejected (0x01): that is too much",
            "rejected (0x02): `x` is not a `u32`: invalid digit found in string",
            "rejected (0x02): `` is not a `u32`: cannot parse integer from empty string",
            "42"
        ]
    );
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (3, 2));
}

#[tokio::test]
async fn client_of_the_specification_skips_notices_and_sees_the_end() {
    if is_missing("python3") {
        return;
    }
    for (last, complaint) in [
        (control(0x40, "later"), "rejected (0x40): later\n"),
        (Vec::new(), "the server has closed the connection\n"),
    ] {
        let notices = [control(0x80, ""), control(0xff, "news")].concat();
        let (addr, server) = serve([
            expects(frame("Zoë")),
            sends(&notices),
            sends(frame("Ünü")),
            expects(frame("")),
            sends(&notices),
            sends(frame("")),
            expects(frame("more")),
            sends(last),
            finishes(),
            expects_end(),
        ])
        .await;
        let client = python_client(addr, &["Zoë", "", "more", "never sent"]);
        let finished = client.finished().await;
        assert_eq!(finished.stdout, ["Ünü", ""]);
        assert_eq!(
            (finished.status.code(), &*finished.stderr),
            (Some(1), complaint)
        );
        server.finished().await;
    }
}

/// Half a reply would look like a whole one.
#[tokio::test]
async fn client_of_the_specification_takes_no_half_reply() {
    if is_missing("python3") {
        return;
    }
    for sent in [3, 5] {
        let half = &frame("two")[..sent];
        let (addr, server) = serve([expects(frame("1")), sends(half), closes()]).await;
        let finished = python_client(addr, &["1"]).finished().await;
        assert_eq!((finished.status.code(), finished.stdout), (Some(1), vec![]));
        assert!(
            finished.stderr.contains("struct.error"),
            "{}",
            finished.stderr
        );
        server.finished().await;
    }
}

#[tokio::test]
async fn of_a_request_in_pieces_the_first_is_answered() {
    if is_missing("python3") {
        return;
    }
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
    if is_missing("python3") {
        return;
    }
    let mut server = Process::python("server.py", [""; 0]);
    let port = server.line().await;
    // It listens on IPv4 only; where `localhost` has an IPv6 address too, each is tried.
    assert_eq!(greeted("localhost", &port, "Zoë").await, "Hello, Zoë!");
    assert_eq!(server.finished().await.succeeded(), ["Request: Zoë"]);
}

#[tokio::test]
async fn reply_in_several_segments_arrives_whole() {
    if is_missing("python3") {
        return;
    }
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
