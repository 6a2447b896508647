//! A message of as many bytes as may be passes in each format, and one byte more is rejected.

use std::cmp::Ordering;

use tcs::{
    ConcurrentServer, ErrorKind, RejectionKind,
    client::ConnectOptions,
    framing::LengthPrefixed,
    protocol::{CallContract, Contract, ServerProtocol},
    server_protocol,
};
use tcs_tests::{Heard, client::chain, frame, raw_server::RawServer, start, within};

macro_rules! texts {
    ($($format:ident: $longer:ident, $twice:ident;)+) => {$(
        #[server_protocol(format = tcs::format::$format)]
        fn $longer(mut text: String) -> String {
            text.push('x');
            text
        }

        #[server_protocol(format = tcs::format::$format)]
        fn $twice(text: String) -> String {
            text
        }
    )+};
}

texts! {
    Json: json_longer, json_text;
    Postcard: lean_longer, lean_text;
    MessagePack: packed_longer, packed_text;
    Protobuf: proto_longer, proto_text;
}

/// How many bytes the longest messages of the next test have.
const LIMIT: usize = 1_000;

/// What a text of so many letters is, with `around` bytes that are no letters.
fn message(before: &[u8], after: &[u8], length: usize) -> Vec<u8> {
    let letters = b"x".repeat(length - before.len() - after.len());
    [before, &letters, after].concat()
}

/// `message` makes one of a length.
async fn limits_hold<Longer, Text>(longer: Longer, text: fn(usize) -> Vec<u8>)
where
    Longer: ServerProtocol,
    for<'a> Text:
        Contract<Framing = LengthPrefixed, Request<'a> = String> + CallContract<Value<'a> = String>,
{
    let too_large = format!(
        "a message of {} bytes exceeds `max_frame_len` of {LIMIT} bytes",
        LIMIT + 1
    );
    let server = start(ConcurrentServer::new(longer).max_frame_len(LIMIT)).await;
    let mut peer = server.peer().await;
    for length in [LIMIT - 2, LIMIT - 1, LIMIT, LIMIT + 1] {
        within(peer.send(frame(&text(length)))).await;
        let heard = within(peer.hear()).await;
        match length.cmp(&LIMIT) {
            Ordering::Less => assert_eq!(heard, Heard::Message(text(length + 1))),
            // The request is not too large, and its reply is.
            Ordering::Equal => assert_eq!(heard.kind(), RejectionKind::Failed.code(), "{heard:?}"),
            Ordering::Greater => {
                let rejection = Heard::Control(RejectionKind::TooLarge.code(), too_large.clone());
                assert_eq!(heard, rejection);
            }
        }
    }
    drop(peer);
    server.stopped().await;

    let (addr, server) = RawServer::once(async move |mut peer| {
        for (request, reply) in [(LIMIT - 1, LIMIT - 1), (LIMIT, LIMIT), (LIMIT, LIMIT + 1)] {
            assert_eq!(within(peer.hear()).await, Heard::Message(text(request)));
            within(peer.send(frame(&text(reply)))).await;
        }
        assert_eq!(within(peer.hear()).await, Heard::End);
    })
    .await;
    let options = ConnectOptions::new().max_frame_len(LIMIT);
    let mut connection = within(options.connect(addr)).await.expect("it listens");
    let around = text(LIMIT).iter().filter(|byte| **byte != b'x').count();
    let letters = |length: usize| "x".repeat(length - around);
    for length in [LIMIT - 1, LIMIT] {
        let reply = within(connection.call::<Text>(letters(length)))
            .await
            .expect("a reply");
        assert_eq!(reply, letters(length));
    }
    let error = within(connection.call::<Text>(letters(LIMIT + 1)))
        .await
        .expect_err("too large");
    assert_eq!(
        (error.kind(), &chain(&error)[1]),
        (ErrorKind::Request, &too_large)
    );
    let error = within(connection.call::<Text>(letters(LIMIT)))
        .await
        .expect_err("too large");
    assert_eq!(
        (error.kind(), &chain(&error)[1]),
        (ErrorKind::Reply, &too_large)
    );
    drop(connection);
    within(server).await.expect("it heard what it expected");
}

#[tokio::test]
async fn limits_hold_in_each_format() {
    limits_hold::<_, JsonText>(JsonLonger, |length| message(b"\"", b"\"", length)).await;
    limits_hold::<_, LeanText>(LeanLonger, |length| {
        message(&varint(length - 2), b"", length)
    })
    .await;
    limits_hold::<_, PackedText>(PackedLonger, |length| {
        let letters = u16::try_from(length - 3)
            .expect("a short one")
            .to_be_bytes();
        message(&[b"\xda".as_slice(), &letters].concat(), b"", length)
    })
    .await;
    limits_hold::<_, ProtoText>(ProtoLonger, |length| {
        message(&[b"\x0a", &*varint(length - 3)].concat(), b"", length)
    })
    .await;
}

/// A count of two bytes, as Postcard and Protobuf write it.
fn varint(count: usize) -> Vec<u8> {
    let bytes = (count & 0x7f | 0x80 | count >> 7 << 8).to_le_bytes();
    bytes[..2].to_vec()
}
