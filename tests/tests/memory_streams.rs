//! A streamed reply takes the same memory however long it is, and however slowly its peer reads. So does an upload.
//!
//! One test in a process of its own, because the allocator is the process's.

use std::env;

use peak_alloc::PeakAlloc;
use tcs::{
    ConcurrentServer, Connection,
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
        upload(&mut connection, is_slow, 10).await;
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        upload(&mut connection, is_slow, items()).await;
        let more = ALLOCATOR.peak_usage() - before;
        println!("{more} bytes of memory for {} chunks", items());
        assert!(more < MOST, "{more}");
    }
}

#[tokio::test]
async fn long_stream_takes_no_more_memory_than_a_short_one() {
    let server = start(ConcurrentServer::new(Zeros)).await;
    let items = items();
    for is_slow in [false, true] {
        let mut peer = server.peer().await;
        peer.send(frame("10")).await;
        read_to_the_end(&mut peer, is_slow).await;
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        peer.send(frame(items.to_string())).await;
        let read = read_to_the_end(&mut peer, is_slow).await;
        assert!(read > items * (ITEM + 4), "{read}");
        let more = ALLOCATOR.peak_usage() - before;
        println!("{more} bytes of memory for {read} bytes");
        assert!(more < MOST, "{more}");
    }
    // Here, because the allocator is shared with what runs beside it.
    long_upload_takes_no_more_memory_than_a_short_one().await;
}
