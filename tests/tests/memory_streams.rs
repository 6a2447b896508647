//! A streamed reply takes the same memory however long it is, and however slowly its peer reads. So does an upload.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::env;

use peak_alloc::PeakAlloc;
use tcs::{
    Channel, ConcurrentServer, Connection,
    framing::{Lines, Multiplexed},
    protocol::{Replies, Requests},
    server_protocol,
};
use tcs_tests::{RawPeer, frame, start, within};
use tokio::task::yield_now;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const ITEM: usize = 1_000;

/// Returns how many items there are: 200 MB, or as the environment says. A long run makes 10 GiB.
fn items() -> usize {
    let items = env::var("TCS_STREAM_ITEMS").ok();
    items.map_or(200_000, |items| items.parse().expect("a number"))
}

/// What a stream may take: what is staged and what is framed, each with room to grow, and a piece of the receiver, which
/// has up to 1 MiB.
const MOST: usize = (1 << 20) + (512 << 10);

#[server_protocol(replies = &[u8])]
async fn zeros(items: u64, mut out: Replies<'_, Zeros>) -> Result<(), String> {
    for _ in 0..items {
        out.send(&[0; ITEM]).await?;
    }
    Ok(())
}

#[server_protocol(framing = Multiplexed, replies = &[u8])]
async fn zeros_with_ids(items: u64, mut out: Replies<'_, ZerosWithIds>) -> Result<(), String> {
    for _ in 0..items {
        out.send(&[0; ITEM]).await?;
    }
    Ok(())
}

#[server_protocol(framing = Lines, replies = &str)]
async fn texts(items: u64, mut out: Replies<'_, Texts>) -> Result<(), String> {
    let line = "x".repeat(ITEM);
    for _ in 0..items {
        out.send(&line).await?;
    }
    Ok(())
}

/// Runs a stream of a few items, and then a long one, which may take no more memory.
async fn measure(mut run: impl AsyncFnMut(usize)) {
    run(10).await;
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    run(items()).await;
    let more = ALLOCATOR.peak_usage() - before;
    println!("{more} bytes of memory for {} items", items());
    assert!(more < MOST, "{more}");
}

/// Reads a stream of a client to its end. A macro, because its items are lent.
macro_rules! read_all {
    ($stream:expr, $is_slow:expr, $items:expr) => {
        let mut stream = within($stream).await.expect("it is open");
        let mut count = 0;
        while let Some(item) = within(stream.next()).await.expect("it goes on") {
            assert_eq!(item.len(), ITEM);
            count += 1;
            if $is_slow && count % 16 == 0 {
                yield_now().await;
            }
        }
        assert_eq!(count, $items);
    };
}

async fn streams_of_clients_take_no_more_memory() {
    let server = start(ConcurrentServer::new(Zeros)).await;
    let with_ids = start(ConcurrentServer::new(ZerosWithIds)).await;
    let connection = Connection::connect(server.addr()).await;
    let mut connection: Connection = connection.expect("it listens");
    let channel = Channel::connect(with_ids.addr()).await;
    let channel: Channel<Multiplexed> = channel.expect("it listens");
    for is_slow in [false, true] {
        measure(async |items| {
            read_all!(connection.stream::<Zeros>(items as u64), is_slow, items);
        })
        .await;
        measure(async |items| {
            read_all!(channel.stream::<ZerosWithIds>(items as u64), is_slow, items);
        })
        .await;
    }
}

async fn stream_of_lines_takes_no_more_memory() {
    let server = start(ConcurrentServer::new(Texts)).await;
    let mut peer = server.peer().await;
    measure(async |items| {
        peer.send(format!("{items}\n")).await;
        let mut left = items * (ITEM + 1) + 1;
        while left > 0 {
            left -= within(peer.receive_some()).await.len();
        }
    })
    .await;
}

/// Reads until the empty message at the end of the stream, which is the only frame of four zeros.
async fn read_to_the_end(peer: &mut RawPeer, is_slow: bool) -> usize {
    let (mut sum, mut zeros) = (0, 0);
    loop {
        if is_slow {
            yield_now().await;
        }
        let piece = within(peer.receive_some()).await;
        sum += piece.len();
        let trailing = piece.iter().rev().take_while(|byte| **byte == 0).count();
        zeros = if trailing == piece.len() {
            zeros + trailing
        } else {
            trailing
        };
        // The last item, and the length of the reply.
        if zeros == ITEM + 4 {
            return sum;
        }
    }
}

/// Counts the chunks, and takes a turn before each if it is to be slow.
#[server_protocol(requests = &[u8])]
async fn count(is_slow: bool, mut more: Requests<'_, Count>) -> Result<usize, String> {
    let mut count = 0;
    while more.next().await?.is_some() {
        count += 1;
        if is_slow && count % 16 == 0 {
            yield_now().await;
        }
    }
    Ok(count)
}

async fn upload(connection: &mut Connection, is_slow: bool, chunks: usize) {
    let upload = within(connection.upload::<Count>(is_slow)).await;
    let mut upload = upload.expect("it is open");
    for _ in 0..chunks {
        within(upload.send(&[0; ITEM])).await.expect("it is open");
    }
    assert_eq!(within(upload.finish()).await.expect("a reply"), chunks);
}

async fn long_upload_takes_no_more_memory_than_a_short_one() {
    let server = start(ConcurrentServer::new(Count)).await;
    let connection = Connection::connect(server.addr()).await;
    let mut connection = connection.expect("it listens");
    for is_slow in [false, true] {
        measure(async |chunks| upload(&mut connection, is_slow, chunks).await).await;
    }
}

#[tokio::test]
async fn long_stream_takes_no_more_memory_than_a_short_one() {
    let server = start(ConcurrentServer::new(Zeros)).await;
    for is_slow in [false, true] {
        let mut peer = server.peer().await;
        measure(async |items| {
            peer.send(frame(items.to_string())).await;
            let read = read_to_the_end(&mut peer, is_slow).await;
            assert!(read > items * (ITEM + 4), "{read}");
        })
        .await;
    }
    // Here, because the allocator is shared with what runs beside it.
    long_upload_takes_no_more_memory_than_a_short_one().await;
    streams_of_clients_take_no_more_memory().await;
    stream_of_lines_takes_no_more_memory().await;
}
