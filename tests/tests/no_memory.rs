//! A server or a client without memory for a large message goes on.
//!
//! One test in a process of its own, because the limit is the process's.

#![cfg(target_os = "linux")]

use std::fs;

use tcs::{
    ConcurrentServer, ErrorKind, Execution, Rejection, Response,
    client::{ChannelOptions, ConnectOptions},
    format::{Encode, EncodeError, Plain, Writer},
    framing::{Codec, CrlfText, Lines},
    protocol::ServerProtocol,
    server_protocol,
};
use tcs_tests::{Heard, RawPeer, code, frame, script::serve_with, start, within};
use tokio_util::codec::LinesCodec;

/// How much memory may be taken beside what the process has when it is limited.
const SPARE: u64 = 24 << 20;
/// More than that, and within `max_frame_len`.
const LARGE: usize = 64 << 20;
/// A message that fits into memory once, but not twice.
const HALF: usize = 120 * PIECE.len();
/// More than `HALF` takes while the buffer that it is read into grows, and less than twice `HALF`.
const HOLE: usize = 14 << 20;
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

#[server_protocol]
fn measure(bytes: &[u8]) -> usize {
    bytes.len()
}

#[server_protocol]
fn echo(bytes: &[u8]) -> &[u8] {
    bytes
}

#[server_protocol(framing = Lines)]
fn measure_line(bytes: &[u8]) -> usize {
    bytes.len()
}

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>, reject_with = in_words)]
fn measure_item(line: String) -> String {
    line.len().to_string()
}

fn in_words(rejection: &Rejection) -> Response<String> {
    Response::Reply(rejection.to_string())
}

/// A message that is made as it is written.
struct InPieces(usize);

impl Encode<Plain> for InPieces {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        for _ in 0..self.0 / PIECE.len() {
            out.put(&PIECE);
        }
        Ok(())
    }
}

/// The same, after a line that is not empty.
struct InLines(usize);

impl Encode<Plain> for InLines {
    fn encode(self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.put(b"first\n");
        InPieces(self.0).encode(out)
    }
}

#[server_protocol]
fn pieces(length: usize) -> InPieces {
    InPieces(length)
}

#[server_protocol(framing = CrlfText)]
fn text(length: usize) -> InLines {
    InLines(length)
}

fn server<P: ServerProtocol>(protocol: P) -> tcs::server::Server<P, tcs::server::Concurrent> {
    ConcurrentServer::new(protocol).max_frame_len(2 * LARGE)
}

/// Lets the process have little more memory than it has.
fn limit_memory() {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = statm
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    let (_, hard) = rlimit::Resource::AS.get().expect("a limit");
    rlimit::Resource::AS
        .set(pages * 4096 + SPARE, hard)
        .expect("lower than it was");
}

/// Takes all memory that there is, except for one block of this many bytes.
fn take_all_but(bytes: usize) -> Vec<Vec<u8>> {
    let reserve = |bytes| {
        let mut block = Vec::new();
        block.try_reserve_exact(bytes).ok().map(|()| block)
    };
    let hole: Vec<u8> = reserve(bytes).expect("there is more");
    let mut taken = Vec::with_capacity(1_000);
    for size in [4 << 20, 1 << 20] {
        taken.extend(std::iter::from_fn(|| reserve(size)));
    }
    drop(hole);
    taken
}

/// Sends a message, until the other end does not take more.
async fn send_large(peer: &mut RawPeer) {
    let length = u32::try_from(LARGE).expect("it fits").to_be_bytes();
    peer.send(length).await;
    for _ in 0..LARGE / PIECE.len() {
        if peer.try_send(&PIECE).await.is_err() {
            return;
        }
    }
}

/// Asks for a reply of many lines while there is no memory for their ends, and returns what the server sends.
async fn ask_for_lines(server: &tcs_tests::Running) -> Vec<u8> {
    let mut peer = server.peer().await;
    let _taken = take_all_but(HOLE);
    within(peer.send(format!("{HALF}\n"))).await;
    within(peer.rest()).await
}

#[tokio::test]
async fn message_without_memory_for_it_ends_no_process() {
    let receiving = start(server(Measure)).await;
    let receiving_lines = start(server(MeasureLine)).await;
    let sending = start(server(Pieces)).await;
    let sending_lines = start(server(Text)).await;
    let decoding = start(server(MeasureItem)).await;
    limit_memory();

    // A request that its server has no memory for.
    let mut peer = receiving.peer().await;
    within(send_large(&mut peer)).await;
    let busy = "the server has no memory for a frame of this size";
    assert_eq!(
        within(peer.hear()).await,
        Heard::Control(code::BUSY, busy.into())
    );
    assert_eq!(within(peer.hear()).await.kind(), code::GOING_AWAY);
    assert_eq!(within(peer.hear()).await, Heard::End);
    drop(peer);
    let mut peer = receiving.peer().await;
    assert_eq!(within(peer.ask("abc")).await, Heard::message("3"));
    drop(peer);
    let requests = receiving.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));

    // The same where the framing cannot say so.
    let mut peer = receiving_lines.peer().await;
    within(send_large(&mut peer)).await;
    assert!(
        within(peer.try_rest())
            .await
            .is_ok_and(|rest| rest.is_empty())
    );
    drop(peer);
    let mut peer = receiving_lines.peer().await;
    within(peer.send("abc\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"3\n");
    let requests = receiving_lines.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));

    // A reply that its server has no memory for.
    let mut peer = sending.peer().await;
    let failed =
        format!("the reply cannot be sent: there is no memory for a message of {LARGE} bytes");
    assert_eq!(
        within(peer.ask(&LARGE.to_string())).await,
        Heard::Control(code::FAILED, failed)
    );
    assert_eq!(within(peer.ask("0")).await, Heard::message(""));
    drop(peer);
    let requests = sending.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (1, 1));

    // A reply that fits into memory, but not while its line ends are written.
    assert!(ask_for_lines(&sending_lines).await.is_empty());
    let requests = sending_lines.stopped().await.requests;
    assert_eq!((requests.served, requests.failed), (0, 1));

    // A reply that its client has no memory for.
    let (addr, server) = serve_with(async |mut peer| {
        assert_eq!(within(peer.hear()).await, Heard::message("abc"));
        within(send_large(&mut peer)).await;
    })
    .await;
    let options = ConnectOptions::new().max_frame_len(2 * LARGE);
    let mut connection = within(options.connect(addr)).await.expect("it listens");
    let error = within(connection.call::<Echo>(b"abc"))
        .await
        .expect_err("no memory");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Io, Execution::Unknown)
    );
    drop(connection);
    within(server).await.expect("it heard what it expected");

    // A reply that a channel can receive, but not copy for its caller.
    let (addr, server) = serve_with(async |mut peer| {
        assert_eq!(within(peer.hear()).await, Heard::message("abc"));
        within(peer.send(u32::try_from(HALF).expect("it fits").to_be_bytes())).await;
        for _ in 0..HALF / PIECE.len() {
            within(peer.send(&PIECE)).await;
        }
        assert_eq!(within(peer.hear()).await, Heard::message("def"));
        within(peer.send(frame(b"ghi"))).await;
    })
    .await;
    let options = ChannelOptions::new(addr).connect_options(options);
    let channel = within(options.connect()).await.expect("it listens");
    let taken = take_all_but(HOLE);
    let error = within(channel.call_with::<Echo, _>(b"abc", <[u8]>::len)).await;
    assert_eq!(
        format!("{:?}", error.expect_err("no memory")),
        format!("cannot read what {addr} sent: there is no memory for a message of {HALF} bytes")
    );
    drop(taken);

    // A request that its server can receive or copy for its decoder, but not both.
    let mut peer = decoding.peer().await;
    let taken = take_all_but(HOLE);
    while within(peer.try_send(&PIECE)).await.is_ok() {}
    drop(taken);
    assert_eq!(within(peer.receive(5)).await, b"busy:");
    let mut peer = decoding.peer().await;
    within(peer.send("abc\n")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"3\n");
    let requests = decoding.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (1, 1));

    let length = within(channel.call_with::<Echo, _>(b"def", <[u8]>::len)).await;
    assert_eq!(length.expect("a reply"), 3);
    within(server).await.expect("it heard what it expected");
}
