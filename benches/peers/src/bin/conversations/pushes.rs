//! Pushes to a group of subscribers.

use std::{cell::Cell, error::Error, io, net::SocketAddr, rc::Rc};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::LocalSet,
};

use crate::{Meter, Server, runtime};

const EVENT: &[u8] = &[b'e'; 64];
/// The notice of one event, and its frame.
const EVENT_LEN: usize = 4 + 5 + 4 + EVENT.len();
/// How many events are received in each row.
const EVENTS: usize = 200_000;

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// Sends a message and takes the empty reply.
async fn ask(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(&frame(message)).await?;
    stream.read_u32().await.map(drop)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Receives events, and counts them. The last one of a round wakes the sender.
async fn receive(mut stream: TcpStream, all: usize, received: &Cell<usize>, done: &Notify) {
    let mut bytes = [0; EVENT_LEN];
    while stream.read_exact(&mut bytes).await.is_ok() {
        received.set(received.get() + 1);
        if received.get().is_multiple_of(all) {
            done.notify_one();
        }
    }
}

async fn row(subscribers: usize) -> Result<(), Box<dyn Error>> {
    let server = Server::start("tcs-room")?;
    let (received, done) = (Rc::new(Cell::new(0)), Rc::new(Notify::new()));
    let tasks = LocalSet::new();
    for _ in 0..subscribers {
        let mut stream = connect(server.address).await?;
        ask(&mut stream, b"").await?;
        let (received, done) = (Rc::clone(&received), Rc::clone(&done));
        tasks.spawn_local(async move { receive(stream, subscribers, &received, &done).await });
    }
    let mut sender = connect(server.address).await?;
    let rounds = EVENTS / subscribers;
    let cost = tasks
        .run_until(async {
            let meter = Meter::start(&server)?;
            for _ in 0..rounds {
                ask(&mut sender, EVENT).await?;
                done.notified().await;
            }
            meter.stop(u64::try_from(rounds * subscribers).map_err(io::Error::other)?)
        })
        .await?;
    println!(
        "| {subscribers} | {:.0} | {:.0} |",
        cost.per_second, cost.server_nanos
    );
    Ok(())
}

pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    )?;
    println!("\n## An event of 64 bytes to each subscriber, and the next when all have it\n");
    println!("| subscribers | events/s | server, ns/event |");
    println!("|---|---|---|");
    for subscribers in [10, 100, 1_000, 10_000] {
        if hard.is_some_and(|hard| hard < 12_000) && subscribers == 10_000 {
            println!("(10,000 are left out: a process may have {hard:?} descriptors only)");
            break;
        }
        runtime()?.block_on(row(subscribers))?;
    }
    Ok(())
}
