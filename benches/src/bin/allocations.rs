//! Counts allocations: `allocations requests NAME DEPTH [FORM]` for each request, and
//! `allocations idle NAME CONNECTIONS` bytes for each idle connection, before and after a request.
//!
//! The server runs in this process, in a thread of its own. The client of this thread has its
//! buffers from the start and then allocates nothing.

use std::{
    alloc::System,
    env,
    error::Error,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tcs_benches::{message::Typed, servers};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many batches are counted, after as many that are not.
const ROUNDS: usize = 1_000;

/// How long a server may take for anything.
const LIMIT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["requests", name, depth] => requests(name, depth.parse()?, &frame(&[b'x'; 64]))?,
        ["requests", name, depth, form] => {
            let message = Typed::sample_as(form).ok_or("no such form")?;
            requests(name, depth.parse()?, &frame(&message))?;
        }
        ["idle", name, connections] => idle(name, connections.parse()?)?,
        _ => return Err("see the first lines of the source".into()),
    }
    Ok(())
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short one");
    [&length.to_be_bytes(), message].concat()
}

/// Starts a server that lives as long as the process.
fn start(name: &str) -> io::Result<SocketAddr> {
    let (announce, announced) = mpsc::channel();
    let name = name.to_owned();
    thread::spawn(move || {
        servers::run(&name, 0, 1, move |address| {
            announce.send(address).expect("somebody waits");
        })
    });
    announced.recv_timeout(LIMIT).map_err(io::Error::other)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, batch: &[u8], replies: &mut [u8]) -> io::Result<()> {
    stream.write_all(batch)?;
    stream.read_exact(replies)?;
    if batch != replies {
        return Err(io::Error::other("a reply is not what was sent"));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn requests(name: &str, depth: usize, frame: &[u8]) -> io::Result<()> {
    let mut stream = connect(start(name)?)?;
    let batch = frame.repeat(depth);
    let mut replies = vec![0; batch.len()];
    let mut rounds = || (0..ROUNDS).try_for_each(|_| exchange(&mut stream, &batch, &mut replies));
    rounds()?;
    let region = Region::new(ALLOCATOR);
    rounds()?;
    let Stats {
        allocations,
        reallocations,
        ..
    } = region.change();
    let each = (allocations + reallocations) as f64 / (ROUNDS * depth) as f64;
    println!("{{\"allocations\": {each:.4}}}");
    Ok(())
}

fn idle(name: &str, connections: usize) -> io::Result<()> {
    let address = start(name)?;
    let request = frame(&[b'x'; 64]);
    let mut reply = vec![0; request.len()];
    // What is made once is made by the first, whatever it is.
    let mut first = connect(address)?;
    exchange(&mut first, &request, &mut reply)?;
    let mut streams = Vec::with_capacity(connections);
    let region = Region::new(ALLOCATOR);
    for _ in 0..connections {
        streams.push(connect(address)?);
    }
    settle(address, &request, &mut reply)?;
    let before = held(&region.change(), connections);
    for stream in &mut streams {
        exchange(stream, &request, &mut reply)?;
    }
    settle(address, &request, &mut reply)?;
    let after = held(&region.change(), connections);
    println!("{{\"before\": {before}, \"after\": {after}}}");
    Ok(())
}

/// A connection that is accepted and answered last proves that those before it were.
///
/// The sweep of a server, or whatever else it does later, has a moment as well.
fn settle(address: SocketAddr, request: &[u8], reply: &mut [u8]) -> io::Result<()> {
    exchange(&mut connect(address)?, request, reply)?;
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

fn held(change: &Stats, connections: usize) -> isize {
    (change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed())
        / connections.cast_signed()
}
