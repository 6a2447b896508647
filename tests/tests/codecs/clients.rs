//! Codecs of `tokio_util` at the client, which a raw server answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tcs::{
    Client, Connection, ErrorKind, Execution, client_protocol, framing::Codec, protocol::Contract,
};
use tcs_tests::{
    RawPeer,
    client::chain,
    ledger::{Balance, Entry, Reader, balance, entry},
    memory,
    script::{closes, expects, play, sends, serve},
    within,
};
use tokio_util::codec::{LengthDelimitedCodec, LinesCodec};

/// The ledger, as its clients see it.
#[derive(Debug)]
enum Book {}

impl Contract for Book {
    type Framing = Codec<Reader>;
    type Format = Codec<Reader>;
    type Request<'a> = Entry;
    type Reply<'a> = Balance;
}

#[tokio::test]
async fn call_returns_the_item_however_it_arrives() {
    for at in 0..12 {
        let (mut connection, peer) = memory::connection::<Codec<Reader>>(1 << 16);
        let reply = balance(1, 5);
        let server = play(
            peer,
            [
                expects(entry(&Entry::Add(5))),
                sends(&reply[..at]),
                sends(&reply[at..]),
                expects("t"),
                sends(balance(2, 5)),
            ],
        );
        let reply = within(connection.call::<Book>(Entry::Add(5))).await;
        assert_eq!(reply.expect("a reply"), Balance(5), "cut at {at}");
        let reply = within(connection.call::<Book>(Entry::Total)).await;
        assert_eq!(reply.expect("a reply"), Balance(5));
        server.finished().await;
    }
}

#[tokio::test]
async fn each_connection_has_a_codec_of_its_own() {
    for _ in 0..2 {
        let (mut connection, mut peer) = memory::connection::<Codec<Reader>>(1 << 16);
        within(peer.send(balance(1, 7))).await;
        let greeting = within(connection.receive::<Balance, Codec<Reader>>()).await;
        assert_eq!(greeting.expect("a greeting"), Balance(7));
    }
}

#[tokio::test]
async fn pipeline_returns_items_in_their_order() {
    let (mut connection, peer) = memory::connection::<Codec<Reader>>(1 << 16);
    let steps = (1..=100).flat_map(|number| {
        let total = 2 * i64::from(number);
        [
            expects(entry(&Entry::Add(number.into()))),
            sends(balance(number, total)),
        ]
    });
    let server = play(peer, steps);
    let mut pipeline = connection.pipeline::<Book>();
    for number in 1..=100 {
        within(pipeline.send(Entry::Add(number)))
            .await
            .expect("room");
    }
    for number in 1..=100 {
        let reply = within(pipeline.receive()).await.expect("a reply");
        assert_eq!(reply, Some(Balance(number * 2)));
    }
    server.finished().await;
}

/// The codec may have counted what it has encoded, so it is sent, though its call was dropped.
#[tokio::test(start_paused = true)]
async fn reply_of_a_dropped_call_is_skipped() {
    // There is room for one request.
    let (near, far) = tokio::io::duplex(1);
    let mut connection = Connection::over(near);
    for request in [Entry::Total, Entry::Add(5)] {
        let call = connection
            .deadline(Duration::from_secs(1))
            .call::<Book>(request);
        let error = within(call).await.expect_err("no reply comes");
        assert_eq!(error.execution(), Execution::Unknown);
    }
    let steps = [
        expects("t"),
        expects(entry(&Entry::Add(5))),
        expects("t"),
        sends([balance(1, 0), balance(2, 5), balance(3, 7)].concat()),
    ];
    let server = play(RawPeer::over(far), steps);
    let reply = within(connection.call::<Book>(Entry::Total)).await;
    assert_eq!(reply.expect("a reply"), Balance(7));
    server.finished().await;
}

/// It is certain whatever the codec is for, unlike an answer to HTTP.
#[tokio::test]
async fn answer_that_the_server_expects_another_framing_is_no_reply() {
    let (mut connection, mut peer) = memory::connection::<Codec<LinesCodec>>(1 << 10);
    let told = "This port expects length-prefixed frames; to use it with nc, serve it with \
                `framing = Lines`.\n";
    within(peer.send(told)).await;
    let error = within(connection.receive::<String, Codec<LinesCodec>>()).await;
    assert_eq!(
        chain(&error.expect_err("no reply")),
        [
            "cannot read what unnamed peer sent",
            "the server answers that it expects length-prefixed frames"
        ]
    );
}

#[client_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>, request = |name: &str| name)]
fn length(reply: String) -> usize {
    reply.len()
}

#[tokio::test]
async fn client_sends_what_is_borrowed_and_processes_what_is_owned() {
    let (addr, server) = serve([expects("Ann\n"), sends("Hello, Ann!\r\n")]).await;
    let length = Client::new(Length { name: "Ann" }).address(addr).open();
    assert_eq!(within(length).await.expect("a reply"), 11);
    server.finished().await;
}

#[client_protocol(
    framing = Codec<LengthDelimitedCodec>, format = Codec<LengthDelimitedCodec>, reply = BytesMut
)]
fn ask_for(name: String) -> Bytes {
    name.into()
}

#[tokio::test]
async fn function_can_make_the_request() {
    let (addr, server) = serve([expects(b"\0\0\0\x03Ann"), sends(b"\0\0\0\x02Bo")]).await;
    let reply = Client::new(AskFor::new("Ann".to_owned()))
        .address(addr)
        .open();
    assert_eq!(within(reply).await.expect("a reply"), &b"Bo"[..]);
    server.finished().await;
}

#[tokio::test]
async fn request_that_cannot_be_encoded_is_not_sent() {
    let (mut connection, peer) = memory::connection::<Codec<Reader>>(1 << 16);
    let error = within(connection.call::<Book>(Entry::Add(0))).await;
    let error = error.expect_err("it cannot be encoded");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Request, Execution::NotSent)
    );
    assert_eq!(
        chain(&error),
        ["cannot encode the request", "nothing is added"]
    );
    // The connection is as good as before.
    let server = play(peer, [expects("t"), sends(balance(1, 0))]);
    let reply = within(connection.call::<Book>(Entry::Total)).await;
    assert_eq!(reply.expect("a reply"), Balance(0));
    server.finished().await;
}

#[tokio::test]
async fn reply_that_cannot_be_decoded_ends_the_connection() {
    let (mut connection, peer) = memory::connection::<Codec<Reader>>(1 << 16);
    let server = play(peer, [expects("t"), sends(balance(2, 0))]);
    let error = within(connection.call::<Book>(Entry::Total)).await;
    let error = error.expect_err("it is out of order");
    assert_eq!(
        (error.kind(), error.execution()),
        (ErrorKind::Reply, Execution::Unknown)
    );
    assert_eq!(
        chain(&error),
        [
            "cannot read what unnamed peer sent",
            "number 2 instead of 1"
        ]
    );
    server.finished().await;
    let error = within(connection.call::<Book>(Entry::Total)).await;
    assert_eq!(error.expect_err("it is closed").kind(), ErrorKind::Broken);
}

#[tokio::test]
async fn half_a_reply_is_none() {
    let (mut connection, peer) = memory::connection::<Codec<Reader>>(1 << 16);
    let half = &balance(1, 0)[..11];
    let server = play(peer, [expects("t"), sends(half), closes()]);
    let error = within(connection.call::<Book>(Entry::Total)).await;
    let error = error.expect_err("half a reply");
    assert_eq!(chain(&error)[1], "bytes remaining on stream");
    server.finished().await;
}

#[tokio::test]
async fn item_that_was_not_asked_for_is_no_reply() {
    let (mut connection, mut peer) = memory::connection::<Codec<Reader>>(1 << 16);
    within(peer.send(balance(1, 0))).await;
    let error = within(connection.call::<Book>(Entry::Total)).await;
    assert_eq!(error.expect_err("too early").kind(), ErrorKind::Broken);
}
