//! Counts allocations: `allocations requests NAME DEPTH [FORM]` for each request,
//! `allocations calls hand|tcs|lasting DEPTH` for each call of a client that many tasks share.
//! `allocations serve NAME` prints an address, and for each line that it reads the bytes it holds.
//!
//! The server runs in this process, in a thread of its own. The client of this thread has its
//! buffers from the start and then allocates nothing; where it is the client that is counted, it is
//! the server that does not.

use std::{
    alloc::System,
    env,
    error::Error,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tcs_benches::{
    load::{Bounds, Work},
    message::Typed,
    own::{Hand, LASTS, Library, Message, call_for},
};

mod operations;

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
        ["calls", client, depth] => calls(client, depth.parse()?)?,
        ["serve", name] => serve(name)?,
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
        let announce = move |address| announce.send(address).expect("somebody waits");
        operations::run(&name, 0, 1, Box::new(announce))
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

/// Counts a short run and a long one, so that starting and ending cancel out.
#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn calls(client: &str, depth: usize) -> io::Result<()> {
    let address = start("l1b")?;
    let work = Work {
        connections: 1,
        depth,
        size: 64,
        reconnects: false,
    };
    let run = |rounds: usize| -> io::Result<(f64, f64)> {
        let bounds = Bounds {
            warm_up: Duration::ZERO,
            time: LIMIT,
            requests: (rounds * depth) as u64,
        };
        let letters = Message::Letters(vec![b'x'; work.size]);
        let region = Region::new(ALLOCATOR);
        let outcome = match client {
            "hand" => call_for::<Hand>(address, work, letters, bounds)?,
            "tcs" | "lasting" => {
                LASTS.store(client == "lasting", Ordering::Relaxed);
                call_for::<Library>(address, work, letters, bounds)?
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let change = region.change();
        let count = change.allocations + change.reallocations;
        Ok((count as f64, outcome.requests as f64))
    };
    let (few, short) = run(ROUNDS)?;
    let (many, long) = run(4 * ROUNDS)?;
    println!(
        "{{\"allocations\": {:.4}}}",
        ((many - few) / (long - short)).max(0.0)
    );
    Ok(())
}

fn serve(name: &str) -> io::Result<()> {
    let region = Region::new(ALLOCATOR);
    println!("{{\"address\": \"{}\"}}", start(name)?);
    for line in io::stdin().lines() {
        line?;
        let Stats {
            bytes_allocated,
            bytes_deallocated,
            ..
        } = region.change();
        println!("{{\"bytes\": {}}}", bytes_allocated - bytes_deallocated);
    }
    Ok(())
}
