//! Serves a function that keeps the processor busy for a given time per request, for the works of
//! fairness: `busy l1b|l1b-yield|tcs|tcs-async MICROSECONDS [THREADS]`. Prints the address.
//!
//! These servers are compiled apart from the others, so that they do not change what is inlined there.

use std::{
    env,
    error::Error,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tcs::server_protocol;
use tcs_benches::servers::{MAX_FRAME_LEN, l1b, ours, runtime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("an argument is missing");
    let (name, cost) = (next()?, Duration::from_micros(next()?.parse()?));
    let threads = next().map_or(Ok(2), |text| text.parse())?;
    runtime(threads)?.block_on(serve(&name, cost))?;
    Ok(())
}

async fn serve(name: &str, cost: Duration) -> io::Result<()> {
    match name {
        "l1b" => {
            l1b::serve(bind().await?, move |message, output| {
                spin(cost);
                l1b::bytes(message, output)
            })
            .await
        }
        "l1b-yield" => serve_yielding(bind().await?, cost).await,
        "tcs" => ours::serve(AfterSpin { cost }, 0, Box::new(announce)).await,
        "tcs-async" => ours::serve(AfterSpinAsync { cost }, 0, Box::new(announce)).await,
        _ => Err(io::Error::other(format!(
            "no server is called {name}; there are l1b, l1b-yield, tcs and tcs-async"
        ))),
    }
}

/// Answers with the same bytes after `cost`.
#[server_protocol]
fn after_spin<'a>(bytes: &'a [u8], #[state] cost: &Duration) -> &'a [u8] {
    spin(*cost);
    bytes
}

/// Does so in an `async` function that is ready at once.
#[server_protocol]
async fn after_spin_async<'a>(bytes: &'a [u8], #[state] cost: &Duration) -> &'a [u8] {
    spin(*cost);
    bytes
}

/// Spins until `time` has passed on the monotonic clock, as the program in Go does.
///
/// The clock of the thread would leave out the time during which the thread does not run, but reading it
/// is a system call, which is too coarse for a microsecond.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

async fn bind() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    announce(listener.local_addr()?);
    Ok(listener)
}

fn announce(address: SocketAddr) {
    println!("{address}");
}

/// Serves as `L1b` does, and yields after each batch.
async fn serve_yielding(listener: TcpListener, cost: Duration) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            drop(yielding_connection(stream, cost).await);
        });
    }
}

// A copy of the loop of `L1b`: a parameter for the yield would change the code of the yardstick.
async fn yielding_connection(mut stream: TcpStream, cost: Duration) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(8 * 1024);
    let mut output = BytesMut::with_capacity(8 * 1024);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((header, rest)) = input.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if length > MAX_FRAME_LEN {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let Some(message) = rest.get(..length) else {
                break;
            };
            spin(cost);
            output.put_slice(header);
            output.put_slice(message);
            input.advance(4 + length);
        }
        input.reserve(8 * 1024);
        stream.write_all(&output).await?;
        output.clear();
        yield_now().await;
    }
}
