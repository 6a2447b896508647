//! Codecs of `tokio_util` as framing and format of a server, which raw bytes are sent to.

use std::io;

use bytes::{Bytes, BytesMut};
use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, Response,
    format::External,
    framing::Codec,
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Over,
    ledger::{Balance, Entry, Ledger, balance, entry},
    over_each, start_over, within,
};
use tokio_util::codec::{
    AnyDelimiterCodec, BytesCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec,
};

over_each!(
    lines_are_text_that_is_owned,
    prefixed_frames_are_bytes,
    delimited_frames_may_be_answered_by_what_is_borrowed,
    chunks_are_whatever_arrives,
    items_need_no_bytes_of_their_own,
    each_connection_has_a_codec_of_its_own,
    stream_can_be_cut_anywhere,
    many_requests_can_arrive_at_once,
    last_line_needs_no_end_if_the_codec_says_so,
    greeting_passes_through_the_codec,
    functions_that_wait_and_block_have_codecs_too,
    codec_can_be_chosen_by_the_protocol,
);

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn shout(line: String) -> String {
    line.to_uppercase()
}

async fn lines_are_text_that_is_owned(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Shout)).await;
    let mut peer = server.peer().await;
    within(peer.send("ann\nbo")).await;
    assert_eq!(within(peer.receive(4)).await, b"ANN\n");
    within(peer.send("b\r\n\n")).await;
    assert_eq!(within(peer.receive(5)).await, b"BOB\n\n");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}

#[server_protocol(framing = Codec<LengthDelimitedCodec>, format = Codec<LengthDelimitedCodec>)]
fn reverse(mut bytes: BytesMut) -> Bytes {
    bytes.reverse();
    bytes.freeze()
}

async fn prefixed_frames_are_bytes(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Reverse)).await;
    let mut peer = server.peer().await;
    within(peer.send(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02")).await;
    assert_eq!(within(peer.receive(11)).await, b"\0\0\0\x03cba\0\0\0\0");
    within(peer.send(b"de")).await;
    assert_eq!(within(peer.receive(6)).await, b"\0\0\0\x02ed");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}

#[server_protocol(Oracle, framing = Codec<AnyDelimiterCodec>, format = Codec<AnyDelimiterCodec>)]
fn answer(question: Bytes, #[state] known: &Vec<(Vec<u8>, String)>) -> Result<&str, Rejection> {
    let found = known.iter().find(|(known, _)| *known == question);
    found
        .map(|(_, answer)| answer.as_str())
        .ok_or_else(|| Rejection::busy("later"))
}

async fn delimited_frames_may_be_answered_by_what_is_borrowed(over: Over) {
    let known = || {
        vec![
            (b"one".to_vec(), "1".to_owned()),
            (b"two".to_vec(), "2".to_owned()),
        ]
    };
    let server = start_over(over, ConcurrentServer::new(Oracle { known: known() })).await;
    let mut peer = server.peer().await;
    within(peer.send("one,two;")).await;
    assert_eq!(within(peer.receive(4)).await, b"1,2,");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}

#[server_protocol(framing = Codec<BytesCodec>, format = Codec<BytesCodec>)]
fn echo(chunk: BytesMut) -> Bytes {
    chunk.freeze()
}

async fn chunks_are_whatever_arrives(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Echo)).await;
    let mut peer = server.peer().await;
    for chunk in [&b"a"[..], b"\0\xff", b"ccc"] {
        within(peer.send(chunk)).await;
        assert_eq!(within(peer.receive(chunk.len())).await, chunk);
    }
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}

/// Makes an item of each byte, and takes all bytes with the first.
#[derive(Default)]
struct Several(Vec<u8>);

impl Decoder for Several {
    type Item = u8;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<u8>> {
        self.0.extend_from_slice(&bytes.split());
        Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
    }
}

impl Encoder<u8> for Several {
    type Error = io::Error;

    fn encode(&mut self, item: u8, out: &mut BytesMut) -> io::Result<()> {
        out.extend_from_slice(&[item]);
        Ok(())
    }
}

#[server_protocol(framing = Codec<Several>, format = Codec<Several>)]
fn next(byte: u8) -> u8 {
    byte + 1
}

async fn items_need_no_bytes_of_their_own(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Next)).await;
    let mut peer = server.peer().await;
    within(peer.send("HAL")).await;
    assert_eq!(within(peer.receive(3)).await, b"IBM");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 3);
}

#[server_protocol(framing = Codec<Ledger>, format = Codec<Ledger>)]
fn book(entry: Entry, #[session] total: &mut i64) -> Response<Balance> {
    match entry {
        Entry::Add(number) => *total += number,
        Entry::Total => {}
        Entry::Quit => return Response::ReplyAndClose(Balance(*total)),
    }
    Response::Reply(Balance(*total))
}

async fn each_connection_has_a_codec_of_its_own(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Book)).await;
    let mut peers = [server.peer().await, server.peer().await];
    for (number, total) in [(1, 5), (2, 10), (3, 15)] {
        for peer in &mut peers {
            within(peer.send(entry(&Entry::Add(5)))).await;
            assert_eq!(within(peer.receive(12)).await, balance(number, total));
        }
    }
    let [mut peer, other] = peers;
    within(peer.send(entry(&Entry::Quit))).await;
    assert_eq!(within(peer.rest()).await, balance(4, 15));
    drop((peer, other));
    assert_eq!(server.stopped().await.requests.served, 7);
}

async fn stream_can_be_cut_anywhere(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Book)).await;
    let entries = [Entry::Add(1), Entry::Total, Entry::Add(2), Entry::Quit];
    let stream: Vec<u8> = entries.iter().flat_map(entry).collect();
    let expected = [(1, 1), (2, 1), (3, 3), (4, 3)].map(|(number, total)| balance(number, total));
    for at in 0..=stream.len() {
        let (before, behind) = stream.split_at(at);
        let mut peer = server.peer().await;
        within(peer.send(before)).await;
        // What is complete is answered before the rest arrives, so the stream is cut here.
        let complete = match at {
            0..9 => 0,
            9 => 1,
            10..19 => 2,
            19 => 3,
            _ => 4,
        };
        let answered = within(peer.receive(12 * complete)).await;
        assert_eq!(answered, expected[..complete].concat(), "cut at {at}");
        within(peer.send(behind)).await;
        assert_eq!(within(peer.rest()).await, expected[complete..].concat());
    }
    let count = u64::try_from(stream.len()).expect("64 bits") + 1;
    assert_eq!(server.stopped().await.requests.served, 4 * count);
}

async fn many_requests_can_arrive_at_once(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Shout)).await;
    let mut peer = server.peer().await;
    let lines = 20_000;
    let mut received = Vec::new();
    for chunk in "abc\n".repeat(lines).as_bytes().chunks(10_001) {
        within(peer.send(chunk)).await;
        // Less than both ends hold is on its way.
        received.extend(within(peer.receive(chunk.len() / 4 * 4)).await);
    }
    received.extend(within(peer.receive(4 * lines - received.len())).await);
    assert_eq!(received, "ABC\n".repeat(lines).as_bytes());
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 20_000);
}

async fn last_line_needs_no_end_if_the_codec_says_so(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Shout)).await;
    let mut peer = server.peer().await;
    within(peer.send("a\nb")).await;
    within(peer.finish()).await;
    assert_eq!(within(peer.rest()).await, b"A\nB\n");
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 2);
}

#[server_protocol(
    framing = Codec<Ledger>, format = Codec<Ledger>,
    session = 7, greeting = Balance(*total)
)]
fn welcome(entry: Entry, #[session] total: &mut i64) -> External<Balance> {
    if let Entry::Add(number) = entry {
        *total += number;
    }
    External(Balance(*total))
}

async fn greeting_passes_through_the_codec(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Welcome)).await;
    let mut peer = server.peer().await;
    assert_eq!(within(peer.receive(12)).await, balance(1, 7));
    within(peer.send(entry(&Entry::Add(3)))).await;
    assert_eq!(within(peer.receive(12)).await, balance(2, 10));
    drop(peer);
    assert_eq!(server.stopped().await.requests.served, 1);
}

#[server_protocol(framing = Codec<Ledger>, format = Codec<Ledger>)]
async fn wait(External(entry): External<Entry>) -> Response<Balance> {
    tokio::task::yield_now().await;
    match entry {
        Entry::Add(number) => Response::Reply(Balance(number)),
        Entry::Total => Response::NoReply,
        Entry::Quit => Response::ReplyAndClose(Balance(0)),
    }
}

#[server_protocol(framing = Codec<Ledger>, format = Codec<Ledger>, blocking)]
fn block(entry: Entry) -> Response<Balance> {
    match entry {
        Entry::Add(number) => Response::Reply(Balance(number)),
        Entry::Total => Response::NoReply,
        Entry::Quit => Response::ReplyAndClose(Balance(0)),
    }
}

async fn functions_that_wait_and_block_have_codecs_too(over: Over) {
    async fn check(over: Over, protocol: impl ServerProtocol) {
        let server = start_over(over, ConcurrentServer::new(protocol)).await;
        let mut peer = server.peer().await;
        let entries = [Entry::Add(1), Entry::Total, Entry::Add(2), Entry::Quit];
        let stream: Vec<u8> = entries.iter().flat_map(entry).collect();
        within(peer.send(stream)).await;
        let said = within(peer.rest()).await;
        assert_eq!(said, [balance(1, 1), balance(2, 2), balance(3, 0)].concat());
        drop(peer);
        assert_eq!(server.stopped().await.requests.served, 4);
    }
    check(over, Wait).await;
    check(over, Block).await;
}

/// A protocol by hand, whose lines have a length of its own.
struct Short {
    length: usize,
}

impl ServerProtocol for Short {
    type Framing = Codec<LinesCodec>;
    type Format = Codec<LinesCodec>;
    type Session = ();
    type Request<'a> = String;
    type Reply<'a> = &'static str;

    fn framing(&self) -> Codec<LinesCodec> {
        Codec::new(LinesCodec::new_with_max_length(self.length))
    }

    fn open_session(&self, _info: &ConnectionInfo) {}

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        line: String,
    ) -> Result<&'static str, Rejection> {
        Ok(if line.is_empty() { "empty" } else { "ok" })
    }
}

async fn codec_can_be_chosen_by_the_protocol(over: Over) {
    let server = start_over(over, ConcurrentServer::new(Short { length: 3 })).await;
    let mut peer = server.peer().await;
    within(peer.send("abc\n\nabcd\n")).await;
    assert_eq!(within(peer.rest()).await, b"ok\nempty\n");
    drop(peer);
    let requests = server.stopped().await.requests;
    assert_eq!((requests.served, requests.rejected), (2, 1));
}
