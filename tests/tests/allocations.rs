//! The path of a request allocates nothing after the first, with every limit on.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::{alloc::System, time::Duration};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tcs::{ConcurrentServer, Connection, server_protocol};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[server_protocol]
fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

#[server_protocol]
fn owned(text: &str) -> String {
    text.to_owned()
}

#[server_protocol]
async fn suspended(bytes: &[u8]) -> &[u8] {
    tokio::task::yield_now().await;
    bytes
}

const ROUNDS: usize = 1_000;

/// Exchanges `batch` `ROUNDS` times with a server at `peer`, in place.
async fn exchange(peer: &mut TcpStream, batch: &[u8], replies: &mut [u8]) {
    for _ in 0..ROUNDS {
        peer.write_all(batch).await.expect("the server reads");
        peer.read_exact(replies).await.expect("the server replies");
        assert_eq!(batch, replies);
    }
}

/// Returns the allocations per batch of requests, after the first batches.
async fn allocations<P: tcs::protocol::ServerProtocol>(protocol: P, batch: &[u8]) -> f64 {
    let server = ConcurrentServer::new(protocol)
        .port(0)
        // Off by default; the others are on.
        .request_timeout(Duration::from_secs(30))
        // tokio allocates when a task yields for the first time, which a slow machine makes it do late.
        .poll_budget(Duration::MAX)
        .bind()
        .await
        .expect("a free port");
    let mut peer = TcpStream::connect(server.local_addr())
        .await
        .expect("it listens");
    tokio::spawn(server.listen());
    let mut replies = vec![0; batch.len()];
    exchange(&mut peer, batch, &mut replies).await;
    let region = Region::new(ALLOCATOR);
    exchange(&mut peer, batch, &mut replies).await;
    let change = region.change();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = (change.allocations + change.reallocations) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let rounds = ROUNDS as f64;
    count / rounds
}

/// 64 requests of 64 bytes.
fn deep() -> Vec<u8> {
    tcs_tests::frame([b'x'; 64]).repeat(64)
}

#[tokio::test]
async fn requests_allocate_nothing_but_what_they_return() {
    let one = tcs_tests::frame([b'x'; 64]);
    let large = tcs_tests::frame(vec![b'x'; 100_000]);
    #[expect(clippy::float_cmp, reason = "nothing is nothing")]
    {
        assert_eq!(
            allocations(Echo, &one).await,
            0.0,
            "borrowed, one in flight"
        );
        assert_eq!(allocations(Echo, &deep()).await, 0.0, "borrowed, 64 deep");
        assert_eq!(
            allocations(Suspended, &one).await,
            0.0,
            "suspended, one in flight"
        );
        assert_eq!(
            allocations(Suspended, &deep()).await,
            0.0,
            "suspended, 64 deep"
        );
        assert_eq!(allocations(Owned, &one).await, 1.0, "owned, one in flight");
        assert_eq!(allocations(Owned, &deep()).await, 64.0, "owned, 64 deep");
    }
    // The buffer of a large frame is given back between two requests.
    let large = allocations(Echo, &large).await;
    assert!(large <= 16.0, "large: {large}");
    assert!(client().await < 0.1, "the client allocates nothing either");
    let claimed = claim(&(8_u32 << 20).to_be_bytes()).await;
    assert!(claimed < 32 * 1024, "on a peer's word: {claimed}");
    let idle = claim(&tcs_tests::frame(vec![b'x'; 100_000])).await;
    assert!(idle < 8 * 1024, "idle connection: {idle}");
}

/// Returns how many bytes a connection holds after each of 50 peers has sent `bytes`.
async fn claim(bytes: &[u8]) -> isize {
    const PEERS: usize = 50;
    let server = ConcurrentServer::new(Echo)
        .port(0)
        .bind()
        .await
        .expect("a free port");
    let addr = server.local_addr();
    tokio::spawn(server.listen());
    let mut peers = Vec::with_capacity(PEERS);
    let mut reply = vec![0; bytes.len()];
    let mut region = Region::new(ALLOCATOR);
    // The first connection and the last prove that those between them were read.
    for number in 0..PEERS + 2 {
        let mut peer = TcpStream::connect(addr).await.expect("it listens");
        peer.write_all(bytes).await.expect("the server reads");
        if bytes.len() > 4 {
            peer.read_exact(&mut reply)
                .await
                .expect("the server replies");
        }
        if number == 0 || number == PEERS + 1 {
            let mut other = TcpStream::connect(addr).await.expect("it listens");
            let one = tcs_tests::frame(b"x");
            let mut replies = vec![0; one.len()];
            exchange(&mut other, &one, &mut replies).await;
        }
        if number == 0 {
            region = Region::new(ALLOCATOR);
        }
        peers.push(peer);
    }
    let change = region.change();
    let held = change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed();
    held / PEERS.cast_signed()
}

/// Returns the allocations per call of a connection and its server together.
async fn client() -> f64 {
    let server = ConcurrentServer::new(Echo)
        .port(0)
        .bind()
        .await
        .expect("a free port");
    let addr = server.local_addr();
    tokio::spawn(server.listen());
    let mut connection = Connection::connect(addr).await.expect("it listens");
    let mut call = async || {
        for _ in 0..ROUNDS {
            let reply = connection.call::<Echo>(b"hello").await.expect("a reply");
            assert_eq!(reply, b"hello");
        }
    };
    call().await;
    let region = Region::new(ALLOCATOR);
    call().await;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = region.change().allocations as f64;
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let rounds = ROUNDS as f64;
    count / rounds
}
