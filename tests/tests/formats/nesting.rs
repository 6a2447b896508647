//! No message overflows the stack, however its type nests and however few bytes it has.
//!
//! An overflow would end the process of these tests.

use serde::{Deserialize, Serialize};
use tcs::{
    ConcurrentServer, ErrorKind,
    format::{Json, MessagePack, Postcard},
    framing::LengthPrefixed,
    protocol::{CallContract, Contract, ServerProtocol},
    server_protocol,
};
use tcs_tests::{
    Heard,
    client::{chain, connected},
    code, frame,
    script::{expects, sends},
    start, within,
};

/// It nests without end in a format whose options take no bytes.
#[derive(Debug, Deserialize, Serialize)]
struct Link(Option<Box<Self>>);

/// Likewise, without being a struct for serde.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Transparent {
    next: Option<Box<Self>>,
}

/// Likewise, by turns with another.
#[derive(Debug, Deserialize, Serialize)]
struct Turn(Option<Box<Other>>);

#[derive(Debug, Deserialize, Serialize)]
struct Other(Option<Box<Turn>>);

#[derive(Debug, Deserialize, Serialize)]
struct Holder {
    link: Transparent,
}

#[derive(Debug, Deserialize, Serialize)]
enum Choice {
    Link(Link),
}

macro_rules! takers {
    ($($name:ident: $type:ty, $format:ty;)+) => {$(
        #[server_protocol(format = $format)]
        fn $name(message: $type) -> $type {
            message
        }
    )+};
}

takers! {
    json_link: Link, Json;
    json_transparent: Transparent, Json;
    json_turn: Turn, Json;
    json_holder: Holder, Json;
    json_choice: Choice, Json;
    json_links: Vec<Link>, Json;
    packed_link: Link, MessagePack;
    packed_transparent: Transparent, MessagePack;
    packed_turn: Turn, MessagePack;
    packed_holder: Holder, MessagePack;
    packed_choice: Choice, MessagePack;
    packed_links: Vec<Link>, MessagePack;
    lean_link: Link, Postcard;
    lean_transparent: Transparent, Postcard;
    lean_turn: Turn, Postcard;
    lean_holder: Holder, Postcard;
    lean_choice: Choice, Postcard;
    lean_links: Vec<Link>, Postcard;
}

/// Fails unless a server rejects the message and goes on.
async fn server_rejects<P: ServerProtocol>(protocol: P, message: &[u8]) {
    let server = start(ConcurrentServer::new(protocol)).await;
    let mut peer = server.peer().await;
    for _ in 0..2 {
        within(peer.send(frame(message))).await;
        let heard = within(peer.hear()).await;
        assert_eq!(heard.kind(), code::BAD_REQUEST, "{heard:?}");
        assert!(format!("{heard:?}").contains("nests deeper"), "{heard:?}");
    }
    drop(peer);
    server.stopped().await;
}

/// Fails unless a client rejects the reply and goes on.
async fn client_rejects<P>(request: fn() -> P::Request<'static>, sent: &[u8], reply: &[u8])
where
    P: CallContract + Contract<Framing = LengthPrefixed>,
    for<'a> P::Value<'a>: std::fmt::Debug,
{
    let exchange = [expects(frame(sent)), sends(frame(reply))];
    let (mut connection, server) = connected(std::iter::repeat_n(exchange, 2).flatten()).await;
    for _ in 0..2 {
        let error = within(connection.call::<P>(request()))
            .await
            .expect_err("it nests too deep");
        assert_eq!(error.kind(), ErrorKind::Reply);
        assert!(chain(&error)[1].contains("nests deeper"), "{error:?}");
    }
    server.finished().await;
}

/// A message of Postcard, where each option takes a byte.
fn deep(before: &[u8]) -> Vec<u8> {
    [before, &[1].repeat(100_000)].concat()
}

#[tokio::test]
async fn server_rejects_json_that_nests_without_a_byte() {
    server_rejects(JsonLink, b"1").await;
    server_rejects(JsonTransparent, b"1").await;
    server_rejects(JsonTurn, b"1").await;
    server_rejects(JsonHolder, br#"{"link":1}"#).await;
    server_rejects(JsonChoice, br#"{"Link":1}"#).await;
    server_rejects(JsonLinks, b"[null,1]").await;
}

#[tokio::test]
async fn server_rejects_message_pack_that_nests_without_a_byte() {
    server_rejects(PackedLink, b"\x01").await;
    server_rejects(PackedTransparent, b"\x01").await;
    server_rejects(PackedTurn, b"\x01").await;
    server_rejects(PackedHolder, b"\x81\xa4link\x01").await;
    server_rejects(PackedChoice, b"\x81\xa4Link\x01").await;
    server_rejects(PackedLinks, b"\x92\xc0\x01").await;
}

#[tokio::test]
async fn server_rejects_postcard_that_nests_by_single_bytes() {
    server_rejects(LeanLink, &deep(b"")).await;
    server_rejects(LeanTransparent, &deep(b"")).await;
    server_rejects(LeanTurn, &deep(b"")).await;
    server_rejects(LeanHolder, &deep(b"")).await;
    server_rejects(LeanChoice, &deep(b"\0")).await;
    server_rejects(LeanLinks, &deep(b"\x02\0")).await;
}

#[tokio::test]
async fn client_rejects_replies_that_nest_without_end() {
    let holder = || Holder {
        link: Transparent { next: None },
    };
    client_rejects::<JsonLink>(|| Link(None), b"null", b"1").await;
    client_rejects::<JsonHolder>(holder, br#"{"link":null}"#, br#"{"link":1}"#).await;
    client_rejects::<PackedLink>(|| Link(None), b"\xc0", b"\x01").await;
    client_rejects::<PackedHolder>(holder, b"\x81\xa4link\xc0", b"\x81\xa4link\x01").await;
    client_rejects::<LeanLink>(|| Link(None), b"\0", &deep(b"")).await;
    client_rejects::<LeanHolder>(holder, b"\0", &deep(b"")).await;
}

/// A list whose links are options in structs, as one would write it.
#[derive(Debug, Deserialize, Serialize)]
struct Node {
    next: Option<Box<Self>>,
}

#[server_protocol(format = Json)]
fn length(mut list: Node) -> usize {
    let mut length = 1;
    while let Some(next) = list.next {
        (list, length) = (*next, length + 1);
    }
    length
}

#[tokio::test]
async fn options_between_levels_of_json_do_not_count_as_levels() {
    let server = start(ConcurrentServer::new(Length)).await;
    let mut peer = server.peer().await;
    let list = |length| r#"{"next":"#.repeat(length) + "null" + &"}".repeat(length);
    within(peer.send(frame(list(127).as_bytes()))).await;
    assert_eq!(within(peer.hear()).await, Heard::message("127"));
    within(peer.send(frame(list(128).as_bytes()))).await;
    assert_eq!(within(peer.hear()).await.kind(), code::BAD_REQUEST);
    drop(peer);
    server.stopped().await;
}

#[server_protocol(format = Postcard)]
fn units(lists: Vec<Vec<()>>) -> u8 {
    u8::try_from(lists.iter().map(Vec::len).sum::<usize>()).unwrap_or(u8::MAX)
}

#[tokio::test]
async fn lists_in_a_list_claim_no_more_elements_together_than_there_are_bytes() {
    let server = start(ConcurrentServer::new(Units)).await;
    let mut peer = server.peer().await;
    within(peer.send(frame(b"\x01\x01"))).await;
    assert_eq!(within(peer.hear()).await, Heard::Message(vec![1]));
    // Each of them alone claims no more.
    within(peer.send(frame(b"\x03\x04\x04\x04"))).await;
    assert_eq!(within(peer.hear()).await.kind(), code::BAD_REQUEST);
    drop(peer);
    server.stopped().await;
}
