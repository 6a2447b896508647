//! Servers that share a port: `Server::reuse_port`.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tcs::{
    ConcurrentServer,
    server::{Report, ServerHandle},
    server_protocol,
};
use tcs_tests::{
    Heard, LONG, RawPeer, frame, nothing_is_left, start,
    threads::{exchange, joined},
    within,
};

/// So many that no server is left out: the system distributes by a hash of the addresses.
const PEERS: usize = 64;

#[server_protocol]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tokio::test]
async fn servers_that_share_a_port_all_get_connections() {
    let first = start(ConcurrentServer::new(Greet).reuse_port(true)).await;
    let second = ConcurrentServer::new(Greet).address(first.addr());
    let second = within(second.reuse_port(true).bind()).await;
    let second = second.expect("the port is shared");
    let handle = second.handle();
    let second = tokio::spawn(second.listen());
    for _ in 0..PEERS {
        let reply = within(first.peer().await.ask("Ann")).await;
        assert_eq!(reply, Heard::message("Hello, Ann!"));
    }
    handle.stop();
    let second = within(second).await.expect("no panic");
    let served = [second.expect("it drains"), first.stopped().await].map(|it| it.requests.served);
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    assert_eq!(served.iter().sum::<u64>(), PEERS as u64);
}

/// Serves on a new thread, which accepts and serves alone.
fn on_a_thread(addr: SocketAddr) -> (SocketAddr, ServerHandle, JoinHandle<tcs::Result<Report>>) {
    let (tell, told) = mpsc::channel();
    let serve = async move {
        let server = ConcurrentServer::new(Greet).address(addr).reuse_port(true);
        let bound = server.bind().await?;
        tell.send((bound.local_addr(), bound.handle()))
            .expect("the test waits");
        bound.listen().await
    };
    let thread = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(serve)
    });
    let (addr, handle) = told.recv_timeout(LONG).expect("it listens");
    (addr, handle, thread)
}

#[test]
fn servers_on_their_own_threads_share_the_connections_of_a_port() {
    let first = on_a_thread(([127, 0, 0, 1], 0).into());
    let addr = first.0;
    let others = (1..4).map(|_| on_a_thread(addr));
    let servers: Vec<_> = [first].into_iter().chain(others).collect();
    // All are connected before the first asks.
    let peers: Vec<_> = (0..PEERS).map(|_| TcpStream::connect(addr)).collect();
    for peer in peers {
        let mut peer = peer.expect("it listens");
        peer.set_read_timeout(Some(LONG)).expect("a timeout");
        exchange(&mut peer, &frame("Ann"), frame("Hello, Ann!").len());
    }
    let mut served = Vec::new();
    for (_, handle, thread) in servers {
        handle.stop();
        let report = joined(thread).expect("it drains");
        nothing_is_left(&report, &handle, 0);
        assert_eq!(report.connections.closed, report.requests.served);
        served.push(report.requests.served);
    }
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    assert_eq!(served.iter().sum::<u64>(), PEERS as u64);
}

#[tokio::test]
async fn port_is_shared_only_if_all_its_servers_say_so() {
    let first = start(ConcurrentServer::new(Greet).reuse_port(true)).await;
    let second = ConcurrentServer::new(Greet).address(first.addr()).bind();
    let error = within(second).await.expect_err("it does not share");
    assert_eq!(error.kind(), tcs::ErrorKind::Listen);
    first.stopped().await;
}

#[tokio::test]
async fn closed_listener_resets_the_peers_in_its_backlog_and_no_others() {
    let stays = start(ConcurrentServer::new(Greet).reuse_port(true)).await;
    // It is bound and does not accept, so its peers wait in the backlog.
    let closes = ConcurrentServer::new(Greet).address(stays.addr());
    let closes = within(closes.reuse_port(true).bind()).await;
    let closes = closes.expect("the port is shared");
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        let mut peer = RawPeer::connect(stays.addr()).await;
        within(peer.send(frame("Ann"))).await;
        within(peer.finish()).await;
        peers.push(peer);
    }
    drop(closes);
    let (mut served, mut reset) = (0, 0);
    for mut peer in peers {
        match within(peer.try_rest()).await {
            Ok(reply) => {
                assert_eq!(reply, frame("Hello, Ann!"));
                served += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
                reset += 1;
            }
        }
    }
    assert!(served > 0 && reset > 0, "{served} served, {reset} reset");
    assert_eq!(stays.stopped().await.requests.served, served);
}
