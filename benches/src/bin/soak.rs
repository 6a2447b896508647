//! The servers of `benches/soak`, one for each kind of function: `soak [FAULT]`.
//!
//! Prints a line of JSON with the addresses of each: one for direct connections, and one for connections that begin
//! with a PROXY header, because the limits per address do not count loopback addresses. Then prints, for each line that
//! it reads, how many bytes are allocated. After SIGTERM and the drain, prints a line of JSON with the reports. The log
//! goes to the standard error.
//!
//! A FAULT is something that the checks of `benches/soak` must find: `memory`, `descriptors`, `threads` or `reply`.

use std::{
    alloc::System,
    env,
    fs::File,
    io,
    net::SocketAddr,
    panic, process,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tcs::{
    ConcurrentServer,
    protocol::ServerProtocol,
    server::{AtCapacity, BoundServer, Report},
    server_protocol,
    transport::{Listener as _, ProxyHeader},
};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Each server has its own.
const MEMORY_BUDGET: usize = 64 << 20;

static FAULT: OnceLock<String> = OnceLock::new();
static CALLS: AtomicU64 = AtomicU64::new(0);
static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Never waits, and borrows from the request.
#[server_protocol]
fn echo(request: &[u8]) -> &[u8] {
    answer(request)
}

/// Waits, for ever if it is asked to.
#[server_protocol]
async fn wait(request: &[u8]) -> &[u8] {
    if request == b"hang" {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    answer(request)
}

/// Blocks its thread.
#[server_protocol(blocking)]
fn block(request: &[u8]) -> &[u8] {
    thread::sleep(Duration::from_millis(2));
    answer(request)
}

/// Replies with as many letters as it is asked for, up to twice `max_frame_len`.
#[server_protocol]
fn expand(request: &[u8]) -> Vec<u8> {
    let length = str::from_utf8(answer(request))
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    vec![b'x'; length.unwrap_or(0).min(16 << 20)]
}

/// Returns the request, unless it is to panic or the fault is a wrong reply.
fn answer(request: &[u8]) -> &[u8] {
    assert!(request != b"panic", "it is asked to");
    let fault = FAULT.get().map_or("", String::as_str);
    let calls = CALLS.fetch_add(1, Relaxed) + 1;
    match fault {
        "memory" => LEAKED.lock().expect("no panic").push(vec![1; 1024]),
        "descriptors" if calls.is_multiple_of(100) => std::mem::forget(File::open("/dev/null")),
        "threads" if calls.is_multiple_of(500) => drop(thread::spawn(thread::park)),
        "reply" if calls.is_multiple_of(10_000) => return b"7",
        _ => {}
    }
    request
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(fault) = env::args().nth(1) {
        FAULT.set(fault)?;
    }
    // The default hook prints each panic. tcs logs them, at most one per second.
    panic::set_hook(Box::new(|_| {}));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let servers = [
        ("echo", bind(Echo, AtCapacity::EvictIdle).await?),
        ("wait", bind(Wait, AtCapacity::Reject).await?),
        ("block", bind(Block, AtCapacity::Wait).await?),
        ("expand", bind(Expand, AtCapacity::EvictIdle).await?),
    ];
    let addresses = servers.each_ref().map(|(name, server)| {
        let addresses: Vec<SocketAddr> = server.local_addrs().collect();
        format!(
            "\"{name}\": {:?}",
            addresses.iter().map(SocketAddr::port).collect::<Vec<_>>()
        )
    });
    println!("{{{}}}", addresses.join(", "));
    thread::spawn(print_allocated);
    let running = servers.map(|(name, server)| {
        (
            name,
            tokio::spawn(server.listen_until(tcs::server::stop_signal())),
        )
    });
    let mut reports = Vec::new();
    for (name, server) in running {
        reports.push(format!("\"{name}\": {}", json(server.await??)));
    }
    println!("{{{}}}", reports.join(", "));
    Ok(())
}

/// Ends the process with its input, so that it does not outlive the script.
fn print_allocated() {
    for _ in io::stdin().lines().map_while(Result::ok) {
        let stats = ALLOCATOR.stats();
        println!("{}", stats.bytes_allocated - stats.bytes_deallocated);
    }
    process::exit(1);
}

/// The time limits are short, so that they cut many times in five minutes, and the others low enough to be met.
async fn bind<P: ServerProtocol>(
    protocol: P,
    at_capacity: AtCapacity,
) -> Result<BoundServer, Box<dyn std::error::Error>> {
    let proxied = TcpListener::bind("127.0.0.1:0").await?;
    let header = ProxyHeader::from_networks(&["127.0.0.0/8"])?;
    let server = ConcurrentServer::new(protocol)
        .port(0)
        .listener(proxied.with_handshake(header))
        .at_capacity(at_capacity)
        .max_connections(96)
        .max_connections_per_address(16)
        .max_in_flight_per_address(8)
        .max_request_rate_per_address(1_000)
        .max_requests_per_connection(2_000)
        .max_connection_age(Duration::from_secs(10))
        .max_blocking(8)
        .memory_budget(MEMORY_BUDGET)
        .handshake_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_secs(4))
        .frame_timeout(Duration::from_secs(3))
        .request_timeout(Duration::from_secs(1))
        .half_close_timeout(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(2))
        .linger(Duration::from_millis(500))
        .drain_timeout(Duration::from_secs(5));
    Ok(server.bind().await?)
}

fn json(report: Report) -> String {
    let (requests, connections) = (report.requests, report.connections);
    let numbers = [
        ("received", requests.received),
        ("served", requests.served),
        ("failed", requests.failed),
        ("rejected", requests.rejected),
        ("aborted", requests.aborted),
        ("in flight", requests.in_flight),
        ("connections", connections.accepted),
        ("connections closed", connections.closed),
        ("connections aborted", connections.aborted),
        ("connections open", connections.open),
    ];
    let fields = numbers.map(|(name, number)| format!("\"{name}\": {number}"));
    format!("{{{}}}", fields.join(", "))
}
