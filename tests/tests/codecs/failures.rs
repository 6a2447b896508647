//! What a server does when a codec cannot go on.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tcs::{
    ConcurrentServer, ConnectionInfo, Rejection, RejectionKind, Response,
    format::Encode,
    framing::Codec,
    protocol::{Context, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Log, Over,
    ledger::{Balance, Entry, Ledger, balance, entry},
    over_each, said_to, start_over, within,
};
use tokio_util::codec::{AnyDelimiterCodec, Decoder, Encoder, LinesCodec};

over_each!(
    bytes_that_are_no_item_close_the_connection,
    stream_that_ends_within_an_item_is_rejected,
    reply_that_cannot_be_encoded_closes_the_connection,
    error_has_no_form_and_closes_the_connection,
    rejections_are_worded_in_items,
    peer_of_another_protocol_sees_no_item,
    item_beyond_the_limit_closes_the_connection,
    reply_beyond_the_limit_closes_the_connection,
    codec_that_panics_ends_its_connection_only,
    started_item_has_a_limit,
    protocol_by_hand_with_two_codecs_rejects_everything,
);

#[server_protocol(framing = Codec<Ledger>, format = Codec<Ledger>)]
fn book(entry: Entry) -> Result<Balance, String> {
    match entry {
        Entry::Add(number) => Ok(Balance(number)),
        Entry::Total => Err("there is no total".to_owned()),
        Entry::Quit => panic!("on purpose"),
    }
}

async fn bytes_that_are_no_item_close_the_connection(over: Over) {
    let sent = [&entry(&Entry::Add(1))[..], b"x", &entry(&Entry::Add(2))].concat();
    let (said, requests) = said_to(over, ConcurrentServer::new(Book), &sent).await;
    assert_eq!(said, balance(1, 1));
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn stream_that_ends_within_an_item_is_rejected(over: Over) {
    let sent = [&entry(&Entry::Add(1))[..], b"a\0\0"].concat();
    let (said, requests) = said_to(over, ConcurrentServer::new(Book), &sent).await;
    assert_eq!(said, balance(1, 1));
    assert_eq!((requests.served, requests.rejected), (1, 1));
}

async fn reply_that_cannot_be_encoded_closes_the_connection(over: Over) {
    let sent = [1, -1, 2].map(|number| entry(&Entry::Add(number))).concat();
    let (said, requests) = said_to(over, ConcurrentServer::new(Book), &sent).await;
    assert_eq!(said, balance(1, 1));
    assert_eq!((requests.served, requests.failed), (1, 1));
}

async fn error_has_no_form_and_closes_the_connection(over: Over) {
    let (log, _logging) = Log::start();
    let sent = [Entry::Add(1), Entry::Total, Entry::Add(2)];
    let sent: Vec<u8> = sent.iter().flat_map(entry).collect();
    let (said, requests) = said_to(over, ConcurrentServer::new(Book), &sent).await;
    assert_eq!(said, balance(1, 1));
    assert_eq!((requests.served, requests.failed), (1, 1));
    assert_eq!(log.with("there is no total").len(), 1);
    assert_eq!(log.with("panic"), [""; 0]);
}

#[server_protocol(framing = Codec<Ledger>, format = Codec<Ledger>, reject_with = in_words)]
fn worded(entry: Entry) -> Result<Balance, String> {
    book(entry)
}

fn in_words(rejection: &Rejection) -> Response<Balance> {
    match rejection.kind() {
        RejectionKind::Error => Response::Reply(Balance(1_000)),
        RejectionKind::Failed => Response::Reply(Balance(2_000)),
        kind if kind.is_final() => Response::Reply(Balance(3_000)),
        _ => Response::NoReply,
    }
}

async fn rejections_are_worded_in_items(over: Over) {
    let sent = [Entry::Total, Entry::Add(-1), Entry::Quit, Entry::Add(2)];
    let sent: Vec<u8> = sent.iter().flat_map(entry).chain(*b"x").collect();
    let (said, requests) = said_to(over, ConcurrentServer::new(Worded), &sent).await;
    let expected = [(1, 1_000), (2, 2_000), (3, 2_000), (4, 2), (5, 3_000)];
    let expected = expected.map(|(number, total)| balance(number, total));
    assert_eq!(said, expected.concat());
    assert_eq!(
        (requests.served, requests.failed, requests.rejected),
        (2, 2, 1)
    );
}

async fn peer_of_another_protocol_sees_no_item(over: Over) {
    for foreign in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0",
        b"SSH-2.0-x\r\n",
    ] {
        let (said, requests) = said_to(over, ConcurrentServer::new(Worded), foreign).await;
        assert_eq!(said, b"");
        assert_eq!((requests.received, requests.rejected), (1, 1));
    }
}

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn repeat(line: String) -> String {
    line.repeat(2)
}

async fn item_beyond_the_limit_closes_the_connection(over: Over) {
    for sent in ["a\n12345678901234567890\nb\n", "a\n123456789012345678901"] {
        let server = ConcurrentServer::new(Repeat).max_frame_len(20);
        let (said, requests) = said_to(over, server, sent.as_bytes()).await;
        assert_eq!(said, b"aa\n");
        assert_eq!((requests.served, requests.rejected), (1, 1));
    }
}

async fn reply_beyond_the_limit_closes_the_connection(over: Over) {
    let server = ConcurrentServer::new(Repeat).max_frame_len(20);
    let (said, requests) = said_to(over, server, b"a\n1234567890\nb\n").await;
    assert_eq!(said, b"aa\n");
    assert_eq!((requests.served, requests.failed), (1, 1));
}

/// Panics as it reads or writes.
#[derive(Default)]
struct Frail;

impl Decoder for Frail {
    type Item = u8;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<u8>> {
        assert_ne!(bytes.first(), Some(&b'd'), "on purpose");
        Ok(bytes.split_to(bytes.len().min(1)).first().copied())
    }
}

impl Encoder<u8> for Frail {
    type Error = io::Error;

    fn encode(&mut self, item: u8, out: &mut BytesMut) -> io::Result<()> {
        out.extend_from_slice(b"half");
        assert_ne!(item, b'e', "on purpose");
        out.extend_from_slice(&[item]);
        Ok(())
    }
}

#[server_protocol(framing = Codec<Frail>, format = Codec<Frail>)]
fn echo(byte: u8) -> u8 {
    byte
}

async fn codec_that_panics_ends_its_connection_only(over: Over) {
    for sent in ["ad", "aea"] {
        let (said, requests) = said_to(over, ConcurrentServer::new(Echo), sent.as_bytes()).await;
        assert_eq!(said, b"halfa");
        assert_eq!(requests.served, 1);
    }
}

/// What the attributes do not let anyone write.
struct Two;

impl ServerProtocol for Two {
    type Framing = Codec<LinesCodec>;
    type Format = Codec<AnyDelimiterCodec>;
    type Session = ();
    type Request<'a> = Bytes;
    type Reply<'a> = &'static str;

    fn open_session(&self, _info: &ConnectionInfo) {}

    fn reject_with<'a>(&'a self, _rejection: &'a Rejection) -> Option<impl Encode<Self::Format>> {
        Some("sorry")
    }

    async fn process_request(
        &self,
        _context: Context<'_, ()>,
        _line: Bytes,
    ) -> Result<&'static str, Rejection> {
        Ok("")
    }
}

async fn protocol_by_hand_with_two_codecs_rejects_everything(over: Over) {
    let server = ConcurrentServer::new(std::sync::Arc::new(Two));
    let (said, requests) = said_to(over, server, b"a\nb\n").await;
    assert_eq!(said, b"");
    assert_eq!((requests.received, requests.rejected), (1, 1));
}

async fn started_item_has_a_limit(over: Over) {
    let limit = Duration::from_millis(50);
    let server = ConcurrentServer::new(Worded).frame_timeout(limit);
    let server = start_over(over, server).await;
    let mut peer = server.peer().await;
    within(peer.send(b"a\0\0")).await;
    assert_eq!(within(peer.rest()).await, balance(1, 3_000));
    drop(peer);
    assert_eq!(server.stopped().await.requests.rejected, 1);
}
