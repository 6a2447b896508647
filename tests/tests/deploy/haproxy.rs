//! Servers behind HAProxy, as `docs/deploy.md` configures it.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use tcs_tests::{
    Heard, RawPeer, own_addrs,
    process::{Finished, Process, example_path, is_missing},
    scratch_path, start, tls, within,
};
use tokio::{net::TcpStream, process::Command};

use crate::{
    load::{Load, executed_once},
    pages::blocks,
    proxy,
};

/// The requests after which a server is known to get its share.
const REQUESTS: usize = 30;

/// HAProxy with the configuration of the page.
struct Balancer {
    addr: SocketAddr,
    _process: Process,
}

impl Balancer {
    /// Starts it before three servers, each with what comes after its name: an address and its check.
    fn start(servers: &[String; 3], frontend: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it listens");
        let bind = format!("bind fd@0\n{frontend}");
        let mut text = blocks("haproxy")[0].replace("bind :7000", &bind);
        for (server, number) in servers.iter().zip(11..) {
            let shown = format!("10.0.0.{number}:7000 check port 7001");
            assert!(text.contains(&shown), "{text}");
            text = text.replace(&shown, server);
        }
        let path = scratch_path("cfg");
        fs::write(&path, text).expect("a writable folder");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(path);
        Self {
            addr,
            _process: Process::run(command.stdin(OwnedFd::from(listener))),
        }
    }
}

/// A server, and what it has printed.
struct Server {
    addrs: [SocketAddr; 2],
    process: Process,
}

impl Server {
    async fn start(addrs: [SocketAddr; 2]) -> Self {
        let arguments = addrs.map(|addr| addr.to_string());
        let mut process = Process::start(example_path("behind_balancer"), arguments);
        let line = process.line().await;
        assert_eq!(line, format!("ready at {}", addrs[1]));
        Self { addrs, process }
    }

    /// Stops the server. Returns what it has printed.
    async fn stop(self) -> Finished {
        self.process.signal("TERM").await;
        self.process.finished().await
    }
}

/// What the servers have executed, and for whom.
#[derive(Default)]
struct Executed {
    numbers: Vec<u64>,
    peers: Vec<String>,
}

impl Executed {
    fn add(&mut self, line: &str) {
        if let Some((number, peer)) = line.split_once(" from ") {
            self.numbers.push(number.parse().expect("a number"));
            self.peers.push(peer.to_owned());
        }
    }

    /// Adds what a server that has ended has printed.
    fn add_rest(&mut self, finished: Finished) {
        let lines = finished.succeeded();
        for line in &lines {
            self.add(line);
        }
        let report = lines.last().expect("a report");
        assert!(
            report.contains(" 0 failed, 0 rejected, 0 aborted"),
            "{report}"
        );
    }
}

#[tokio::test]
async fn server_behind_haproxy_is_restarted_under_load_without_a_failed_request() {
    if is_missing("haproxy") {
        return;
    }
    let free: [_; 6] = own_addrs();
    let addrs = [[free[0], free[1]], [free[2], free[3]], [free[4], free[5]]];
    let mut first = Server::start(addrs[0]).await;
    let mut second = Server::start(addrs[1]).await;
    let mut third = Server::start(addrs[2]).await;
    let checked = addrs.map(|[service, ready]| format!("{service} check port {}", ready.port()));
    let balancer = Balancer::start(&checked, "");

    let mut executed = Executed::default();
    let load = Load::start(balancer.addr).await;
    // All three serve; then the second is stopped, and another process takes its place.
    for server in [&mut first, &mut second, &mut third] {
        for _ in 0..REQUESTS {
            executed.add(&server.process.line().await);
        }
    }
    let stopping = second.addrs;
    let mut stopped = Box::pin(second.stop());
    let finished = loop {
        tokio::select! {
            line = first.process.line() => executed.add(&line),
            line = third.process.line() => executed.add(&line),
            finished = &mut stopped => break finished,
        }
    };
    executed.add_rest(finished);
    let mut second = Server::start(stopping).await;
    let mut left = REQUESTS;
    while left > 0 {
        tokio::select! {
            line = first.process.line() => executed.add(&line),
            line = third.process.line() => executed.add(&line),
            line = second.process.line() => {
                executed.add(&line);
                left -= 1;
            }
        }
    }
    let outcome = load.finish().await;
    let (first, second, third) = tokio::join!(first.stop(), second.stop(), third.stop());
    for finished in [first, second, third] {
        executed.add_rest(finished);
    }

    executed_once(executed.numbers, &outcome);
    // The servers see the clients, not HAProxy.
    let clients: Vec<_> = outcome.clients.iter().map(ToString::to_string).collect();
    let strangers = executed.peers.iter().find(|peer| !clients.contains(peer));
    assert_eq!(strangers, None);
    assert!(outcome.sent_again > 0, "nobody was told *going away*");
}

#[tokio::test]
async fn tls_passes_through_haproxy_and_the_server_knows_the_client() {
    if is_missing("haproxy") {
        return;
    }
    let server = start(proxy::server(&["127.0.0.0/8"]).tls(tls::server())).await;
    // The checks connect to the service itself, so HAProxy sends a header of its own.
    let checked = [(); 3].map(|()| format!("{} check", server.addr()));
    let chosen = blocks("haproxy")[1].replace("greet.example.com", "localhost");
    let balancer = Balancer::start(&checked, &chosen);

    let stream = TcpStream::connect(balancer.addr).await.expect("it listens");
    let own = stream.local_addr().expect("it is connected");
    let stream = within(tls::connect_over(stream)).await;
    let mut peer = RawPeer::over(stream.expect("the handshake succeeds"));
    within(peer.send(proxy::REQUEST)).await;
    let Heard::Message(reply) = within(peer.hear()).await else {
        panic!("no reply");
    };
    let expected = format!("{own} to {} over ", balancer.addr);
    let reply = String::from_utf8(reply).expect("text");
    assert!(reply.starts_with(&expected), "{reply}");
    drop(peer);
    server.stopped().await;
}
